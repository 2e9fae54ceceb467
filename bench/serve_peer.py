"""The same prediction as a page of Starlette and PyTorch: neither batches nor checks."""

from __future__ import annotations

import io
import json
import sys

import numpy as np
import torch
import uvicorn
from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from bench import nets, peer

__all__ = ["application"]


def application(net: nets.Net, weights: list[np.ndarray], /) -> Starlette:
    """Return a server that answers ``POST /predict`` with probabilities.

    Parameters
    ----------
    net : Net
        It takes grey images.
    weights : list of numpy.ndarray
        Of each layer in turn: weights, then biases.

    Returns
    -------
    Starlette
        Each request is computed by itself, in the thread that receives it: a small net takes less time than
        to hand it to another.
    """
    model = peer.module(net).eval()
    with torch.no_grad():
        for p, value in zip(model.parameters(), weights, strict=True):
            p.copy_(torch.from_numpy(value))

    async def predict(request: Request) -> JSONResponse:
        body = await request.body()
        if request.headers["content-type"] == "application/json":
            pixels = np.array(json.loads(body), dtype=np.float32)
        else:
            pixels = np.asarray(Image.open(io.BytesIO(body)).convert("L"), dtype=np.float32)
        with torch.inference_mode():
            y = torch.softmax(model(torch.from_numpy(pixels / 255.0)[None, None]), dim=1)[0]
        found = {"label": int(y.argmax()), "probabilities": y.tolist()}
        return JSONResponse({"predictions": [found]})

    return Starlette(routes=[Route("/predict", predict, methods=["POST"])])


if __name__ == "__main__":
    torch.set_num_threads(1)  # a second one only waits: the net is small
    with np.load(sys.argv[2]) as kept:
        found = [kept[name] for name in kept.files]
    uvicorn.run(application(nets.NETS[sys.argv[1]], found), port=0, access_log=False)
