"""The native runner: our worker contract in C, for machines without Python, and how it is built.

runner.c holds the loops, answers.c what is said and asked, feed.c what goes into the graph, watch.c the sampled files; ort.c,
tflite.c and litert.c are the runtimes. bionic.c starts the program on Android where it is built without an NDK.
"""
