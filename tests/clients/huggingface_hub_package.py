"""Hugging Face's InferenceClient as a client of `kindling serve`: python huggingface_hub_package.py URL KEY. The server is that of
openai_package.py."""

import asyncio
import sys

from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError

URL, KEY = sys.argv[1:]
MESSAGES = [{"role": "user", "content": "Lock the study door."}]
ASKED = {"messages": MESSAGES, "max_tokens": 12, "seed": 3, "temperature": 1.0}

# Without a model it writes `dummy`: the one adapter is meant.
client = InferenceClient(base_url=URL, api_key=KEY)
whole = client.chat_completion(**ASKED)
assert whole.model == "places", whole
assert whole.choices[0].finish_reason in ("stop", "length"), whole
text = whole.choices[0].message.content
assert text == client.chat_completion(model="places", **ASKED).choices[0].message.content
assert client.chat.completions.create(**ASKED).choices[0].message.content == text

client = InferenceClient(base_url=f"{URL}/v1", api_key=KEY)
chunks = list(client.chat_completion(stream=True, **ASKED))
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text, chunks

try:
    client.chat_completion(model="none", **ASKED)
    raise AssertionError("there is no such model")
except HfHubHTTPError as error:
    assert error.response.status_code == 404, error
    assert "there are chat, places" in str(error), error


async def ask():
    client = AsyncInferenceClient(base_url=URL, api_key=KEY)
    answers = await asyncio.gather(*(client.chat_completion(**ASKED) for _ in range(2)))
    assert all(answer.choices[0].message.content == text for answer in answers), answers


asyncio.run(ask())
print("huggingface_hub: all hold")
