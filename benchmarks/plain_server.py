"""transformers' GPT-1 behind a plain FastAPI app, as one would write it in a few lines.

``python -m benchmarks.plain_server FOLDER PORT THREADS``
"""

from __future__ import annotations

import sys
from typing import Any


def main(folder: str, port: str, threads: str) -> None:
    """Serve until the process is ended."""
    import torch
    import uvicorn
    from fastapi import FastAPI
    from transformers import OpenAIGPTLMHeadModel

    torch.set_num_threads(int(threads))
    model = OpenAIGPTLMHeadModel.from_pretrained(folder).eval()
    app = FastAPI()

    @app.post("/v1/completions")
    def complete(body: dict[str, Any]) -> dict[str, Any]:
        ids = torch.tensor([body["prompt"]])
        output = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=body["max_tokens"],
            do_sample=False,
            pad_token_id=0,
        )
        return {"ids": output[0, ids.shape[1] :].tolist()}

    uvicorn.run(app, port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
