"""xcnn against PyTorch eager on this machine's processor: ``python -m bench`` in a checkout.

For nets A to F (G. Jensen, N. Parise, S. Stefanidis, "Coding a convolutional neural network from scratch",
table I) and LeNet-5, on random images of 28 x 28 pixels in float32, it measures

- the time of a training step: forward, cross-entropy, backward, Adam; `Trainer.step` on NumPy arrays here,
  the usual five lines on tensors there,
- the time of a prediction: `Model.predict` here, the module under ``inference_mode`` there,
- the memory of both together, each side and net in a process of its own,
- the time of ``import xcnn``, beside PyTorch and bare NumPy.

Before anything is timed, both sides are given the same weights and must agree on the logits and on the losses
of three steps. Both then use the same threads, and take turns: a figure is the median over chunks of calls
during which other programs hardly used the processor. Nothing here passes or fails by its time.
"""
