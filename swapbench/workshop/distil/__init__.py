"""Knowledge distillation: loss terms, teachers, and their outputs kept on disk."""
