"""The workshop: networks, their training and compression, and the files that are made from them.

Everything that needs PyTorch is here, and nothing outside imports it at the top of a module: what ships and
what is measured are files. The rooms, from the top:

    artifacts   model card -> files in a precision and a format, cached by what they depend on
    prune       widths within a budget: uniform, by magnitude, MetaPruning and Meta-MMD; latency tables
    train       the training loop, its domain loss, several processes, scores on the development split
    distil      teachers, their outputs kept on disk, and the losses of a student
    pipeline    from samples to batches of crops
    recipes     what is trained, and how much is spent on it, as data
    export      a network -> ONNX, TFLite, ncnn, ExecuTorch; quantisation
    nets        the networks, a file for each family, and their checkpoints
"""
