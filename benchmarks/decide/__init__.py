"""Evidence that decides: studies on world 2 whose results gather in the repository, a small file a training.

    python -m benchmarks.decide list                          # the studies, and how far each is
    python -m benchmarks.decide go STUDY ... [--minutes 60]   # trains and tests what is missing
    python -m benchmarks.decide table                         # writes reports/compression/decided.md

A training is done when reports/compression/evidence holds its result under the digest of all that decides it;
its checkpoint may be long gone. So the studies can be carried on on another machine: what is missing is
trained there, and a teacher of which a student is missing is trained again. Stopped at any moment, `go` goes
on; on the same machine also within a training. What was fixed before the first result is in
reports/compression/README.md.

    teachers              ways to train a teacher, and the student that it must be better than
    distillation-few      MiniFASNetV2 alone and distilled, 4 and 28 epochs, 240 people in training
    distillation-all      the same with 960 people
    modalities            teachers that see depth or near infrared, in all domains
    modalities-unseen     the same, each domain left out
    weights-X             weights of the discrepancy, on held-out sources of what X leaves out
    rank                  structures of a search, trained: does its fitness foretell their errors?
    decide-X              five ways to 14 M MACs without X: a domain (A to D) or a species (print, replay)

Needs the package's extras `train`, `simulate` and `dev`. Simulated data; not PAD performance.
"""
