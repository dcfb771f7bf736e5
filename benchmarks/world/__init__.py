"""Is a simulated world as hard as published facts say, and are its attacks told by what tells real ones?

    python -m benchmarks.world make build/world [--world 2] [--people 240 60 100]
    python -m benchmarks.world train build/world/simulated-HASH [NAME ...] [--schedule small] [--seeds 2]
    python -m benchmarks.world table build/world/simulated-HASH [--detector FILE=CARD ...]

`make` makes a world, or the first people of each of its splits, and prints its folder. `table` prints a line
for each thing that a world is accepted by: what must hold, what was measured, with its interval over people
and the number of seeds. What was not measured is absent, with the reason. `train` makes the networks of some
lines (all of them if none is named), with swapbench's own command and into a folder beside the data. All
three go on where they were cut. The lines that train nothing take minutes.

    shortcuts     logistic regressions on the file size, the mean colour and the energy of whole frames
    spectra       a logistic regression on spectra and colours of the face at the sensor's own resolution
    detector      a public network, trained by others on real attacks: FILE, with a card of docs/zoo.md
    student, student-128, teacher, distilled          trained on the world, tested in its own domains
    without-A to without-D                            the student, tested in the domain that it did not see

Needs the package's extras `train`, `simulate` and `dev` (scikit-learn). Simulated data; not PAD performance.
"""
