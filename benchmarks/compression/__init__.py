"""What does compression buy? The evidence behind reports/compression, from trainings to the report.

All with swapbench's own commands (make evidence):

    swapbench train benchmarks/compression/students.toml --out build/compression/students
    swapbench train benchmarks/compression/unseen.toml --out build/compression/unseen
    python -m benchmarks.compression rank
    swapbench train build/compression/rank.toml --schedule smallest --out build/compression/rank
    python -m benchmarks.compression measure [students | unseen | rank] [--missing]
    python -m benchmarks.compression report

Three studies, all on the simulated four-domain data:

    students   a teacher against students that were distilled from it and students that were trained alone
    unseen     40 M MACs by uniform widths, magnitude, MetaPruning, Meta-MMD and its arms, domain by domain
    rank       structures of one search, from its best to its worst by the PruningNet, trained from scratch

Everything is resumable: a finished training is not done again, an interrupted one goes on, and `measure
--missing` leaves out what reports/compression holds already.
"""
