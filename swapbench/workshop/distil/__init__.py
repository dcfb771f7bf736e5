"""Knowledge distillation: teachers, their outputs kept on disk, and the terms of a student's loss."""
