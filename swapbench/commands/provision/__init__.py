"""What a phone needs to run the models, and where it is fetched from."""
