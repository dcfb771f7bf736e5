"""The native runner: the worker contract in C, for machines without Python; its build and its adapter.

runner.c has the loops, answers.c the JSON, feed.c the input of the graph, watch.c the sampled files; ort.c,
tflite.c, litert.c and ncnn.c are the runtimes. bionic.c starts the program on Android where it is built
without an NDK.
"""
