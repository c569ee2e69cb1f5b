"""Python's `openai` package as a client of `kindling serve`: python openai_package.py URL KEY.

The server has `chat`, which has a chat template, and the adapter `places`; --max-queue is 2, and KEY is one of its keys.
"""

import asyncio
import sys
import time
import urllib.request

import openai
from openai import AsyncOpenAI, OpenAI

URL, KEY = sys.argv[1:]
CHAT = {"model": "chat", "messages": [{"role": "user", "content": "Lock the study door."}], "max_tokens": 12}
TEXT = {"model": "chat", "prompt": "door", "temperature": 0, "max_tokens": 8}
client = OpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0)


# The small model often ends its turn at once.
answers = ((seed, client.chat.completions.create(**CHAT, seed=seed)) for seed in range(50))
CHAT["seed"] = next(seed for seed, answer in answers if answer.usage.completion_tokens > 5)


def refused(kind, call):
    """The exception of a request that must be refused."""
    try:
        answer = call()
    except kind as error:
        assert type(error) is kind, f"{type(error)}: {error}"
        return error
    raise AssertionError(f"no {kind.__name__}, but {answer}")


def test_models():
    assert [model.id for model in client.models.list()] == ["chat", "places"]
    place = client.models.retrieve("places")
    assert (place.object, place.owned_by, place.parent) == ("model", "kindling", "chat"), place


def test_chat():
    answer = client.chat.completions.create(**CHAT)
    assert (answer.object, answer.model) == ("chat.completion", "chat")
    assert answer.system_fingerprint.startswith("fp_") and answer.created > 0, answer
    [choice] = answer.choices
    assert (choice.message.role, choice.index) == ("assistant", 0)
    assert choice.finish_reason in ("stop", "length"), choice
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
    assert client.chat.completions.create(**CHAT).choices == answer.choices, "the seed decides"


def test_chat_as_a_stream():
    whole = client.chat.completions.create(**CHAT)
    chunks = list(client.chat.completions.create(**CHAT, stream=True, stream_options={"include_usage": True}))
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == whole.choices[0].finish_reason
    assert (chunks[-1].choices, chunks[-1].usage) == ([], whole.usage)
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_the_package_puts_a_stream_together():
    with client.chat.completions.stream(**CHAT) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.done" in kinds, kinds
    assert final.choices[0].message.content == client.chat.completions.create(**CHAT).choices[0].message.content


def test_completions():
    whole = client.completions.create(**TEXT)
    assert (whole.object, whole.choices[0].finish_reason, whole.usage.completion_tokens) == ("text_completion", "length", 8)
    stream = client.completions.create(**TEXT, stream=True, stream_options={"include_usage": True})
    chunks = list(stream)
    assert "".join(chunk.choices[0].text for chunk in chunks[:-1]) == whole.choices[0].text
    assert chunks[-1].usage == whole.usage
    several = client.completions.create(**TEXT | {"prompt": ["door", "the sea"], "n": 2})
    assert [choice.index for choice in several.choices] == [0, 1, 2, 3]
    assert several.choices[0].text == whole.choices[0].text
    word = whole.choices[0].text.split()[1]
    stopped = client.completions.create(**TEXT, stop=[word]).choices[0]
    assert (stopped.finish_reason, stopped.text) == ("stop", whole.choices[0].text.split(word)[0])


def test_an_adapter_says_what_it_is_made_of():
    base, adapter = (client.completions.create(**TEXT | {"model": name}) for name in ("chat", "places"))
    assert adapter.model == "places" and adapter.system_fingerprint.startswith(f"{base.system_fingerprint}_"), adapter


def test_log_probabilities():
    try:
        choice = client.chat.completions.create(**CHAT, logprobs=True, top_logprobs=2).choices[0]
    except openai.BadRequestError as error:
        assert (error.param, error.code) == ("logprobs", "unsupported"), error
        return
    tokens = choice.logprobs.content
    assert 0 < len(tokens) <= CHAT["max_tokens"]
    for token in tokens:
        assert token.logprob <= 0 and bytes(token.bytes).decode(errors="replace") == token.token, token
        assert len(token.top_logprobs) == 2 and token.top_logprobs[0].logprob >= token.top_logprobs[1].logprob, token
    of_text = client.completions.create(**TEXT, logprobs=2).choices[0].logprobs
    assert len(of_text.tokens) == len(of_text.token_logprobs) == len(of_text.text_offset) == TEXT["max_tokens"]
    assert all(len(top) >= 2 for top in of_text.top_logprobs)


def test_errors():
    error = refused(openai.NotFoundError, lambda: client.chat.completions.create(**CHAT | {"model": "gpt-4o"}))
    assert (error.status_code, error.code) == (404, "model_not_found")
    assert error.body["message"] == "there is no model `gpt-4o`: there are chat, places", error.body
    error = refused(openai.BadRequestError, lambda: client.chat.completions.create(**CHAT, temperature=9))
    assert (error.param, error.type) == ("temperature", "invalid_request_error"), error
    assert error.body["message"] == "`temperature` is 9: expected a number from 0 to 2"
    error = refused(openai.BadRequestError, lambda: client.chat.completions.create(**CHAT, extra_body={"topk": 1}))
    assert (error.param, error.code) == ("topk", "unknown_field"), error
    error = refused(openai.BadRequestError, lambda: client.completions.create(**TEXT | {"prompt": "lamp " * 300}))
    assert error.code == "context_length_exceeded", error
    # The chat template of the small model reads no tools.
    tools = [{"type": "function", "function": {"name": "lock", "parameters": {"type": "object", "properties": {}}}}]
    error = refused(openai.BadRequestError, lambda: client.chat.completions.create(**CHAT, tools=tools))
    assert (error.param, error.code) == ("tools", "unsupported"), error
    stranger = client.with_options(api_key="wrong")
    error = refused(openai.AuthenticationError, lambda: stranger.models.list())
    assert error.body["message"] == "the API key is not one of this server's"
    refused(openai.NotFoundError, lambda: client.embeddings.create(model="chat", input="a"))


def test_raw_responses():
    raw = client.chat.completions.with_raw_response.create(**CHAT)
    answer = raw.parse()
    assert raw.headers["x-system-fingerprint"] == answer.system_fingerprint
    assert raw.headers["content-type"] == "application/json"


def test_a_client_that_waits_no_longer():
    hasty = client.with_options(timeout=0.2)
    refused(openai.APITimeoutError, lambda: hasty.completions.create(**TEXT | {"temperature": 1, "max_tokens": 200, "n": 16}))


async def test_async():
    async with AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=3) as client:
        alone = await client.completions.create(**TEXT)
        stream = await client.completions.create(**TEXT, stream=True)
        assert "".join([chunk.choices[0].text async for chunk in stream]) == alone.choices[0].text
        together = await asyncio.gather(*(client.completions.create(**TEXT) for _ in range(3)))
        assert all(answer.choices == alone.choices for answer in together)


async def test_a_full_queue_is_tried_again():
    """Long requests until one is refused; it is answered when they are gone, as the package tries again after Retry-After."""
    async with AsyncOpenAI(base_url=f"{URL}/v1", api_key=KEY, max_retries=0) as client:
        long = TEXT | {"prompt": ["door"] * 8, "temperature": 1, "max_tokens": 200, "n": 16, "stream": True}
        running = []
        refused = None
        while refused is None:
            running.append(asyncio.create_task(client.completions.create(**long)))
            await asyncio.sleep(0.1)
            ended = [task.exception() for task in running if task.done()]
            refused = next((error for error in ended if error), None)
            assert len(running) < 100, "nothing is refused"
        assert type(refused) is openai.InternalServerError, refused
        assert (refused.status_code, refused.code) == (503, "queue_full"), refused
        assert refused.response.headers["retry-after"] == "1"
        patient = asyncio.create_task(client.with_options(max_retries=9).completions.with_raw_response.create(**TEXT))
        await asyncio.sleep(0.2)
        for task in running:
            if task.done() and not task.exception():
                await task.result().close()
            task.cancel()
        answer = await patient
        assert answer.retries_taken > 0 and answer.parse().choices[0].finish_reason == "length"


def metric(name):
    request = urllib.request.Request(f"{URL}/metrics", headers={"Authorization": f"Bearer {KEY}"})
    lines = urllib.request.urlopen(request).read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


for name, test in [(name, test) for name, test in globals().items() if name.startswith("test_")]:
    print(name, flush=True)
    asyncio.run(test()) if asyncio.iscoroutinefunction(test) else test()
    # A client that went away is noticed at the next token.
    while metric("kindling_requests_running") + metric("kindling_requests_waiting"):
        time.sleep(0.05)
print(f"openai {openai.__version__}: all hold")
