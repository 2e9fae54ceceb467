"""xcnn against PyTorch on this machine's processor: ``python -m bench`` in a checkout.

For nets A to F (G. Jensen, N. Parise, S. Stefanidis, "Coding a convolutional neural network from scratch",
table I) and LeNet-5 on 28 x 28 pixels; for ResNet-20 (K. He, X. Zhang, S. Ren, J. Sun, "Deep residual
learning for image recognition", section 4.2, here with projections), a small VGG, wide layers and a small
MobileNet on 32 x 32 pixels of three channels; on random images in float32, it measures

- the time of a training step: forward, cross-entropy, backward, Adam; `Trainer.step` on NumPy arrays here,
  the usual five lines on tensors there,
- the time of a prediction: `Model.predict` here, the module under ``eval`` and ``inference_mode`` there,
- each side and net in a process of its own: its peak of memory, and the time from its start to the end of its
  first step; ours with no kernel compiled before, then with those of the first time,
- the time of ``import xcnn``, beside PyTorch and bare NumPy.

PyTorch comes in two kinds: eager, as it is usually written, and tuned, with the channels last in memory and
the fused Adam. ``--nets``, ``--batch`` and ``--threads`` choose, ``--all`` takes every batch, ``--json``
keeps the figures, ``--plot`` draws the ratios. ``python -m bench.ops`` does the same for single operations,
and says which part of the processor's arithmetic or of the memory's bandwidth they reach.

Before anything is timed, both sides are given the same weights and must agree on the logits and on the losses
of three steps. Both then use the same threads, and take turns: a figure is the median over chunks of calls
during which other programs hardly used the processor. Nothing here passes or fails by its time.
"""
