"""Many trainings as one job: which are to be done, who does them, how far they are, and what came of them."""
