"""LiteLLM as a client of `kindling serve`: python litellm_package.py URL KEY. The server is that of openai_package.py."""

import sys

import litellm

URL, KEY = sys.argv[1:]
SERVER = {"api_base": f"{URL}/v1", "api_key": KEY, "num_retries": 0}
CHAT = {
    "model": "openai/chat",
    "messages": [{"role": "user", "content": "Lock the study door."}],
    "seed": 3,
    "max_tokens": 12,
}

whole = litellm.completion(**CHAT, **SERVER)
content = whole.choices[0].message.content
assert whole.choices[0].finish_reason in ("stop", "length"), whole
assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens, whole

chunks = litellm.completion(**CHAT, **SERVER, stream=True)
assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == (content or "")

text = litellm.text_completion(
    model="text-completion-openai/chat", prompt="door", temperature=0, max_tokens=8, **SERVER
)
assert text.choices[0].text and text.usage.completion_tokens == 8, text

try:
    litellm.completion(**CHAT | {"model": "openai/gpt-4o"}, **SERVER)
    raise AssertionError("a model that is not there has answered")
except litellm.NotFoundError as error:
    assert "there is no model `gpt-4o`: there are chat, places" in str(error), error
print("litellm: all hold")
