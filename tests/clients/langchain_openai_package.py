"""LangChain's ChatOpenAI as a client of `kindling serve`: python langchain_openai_package.py URL KEY. The server is that of
openai_package.py."""

import sys

from langchain_openai import ChatOpenAI

URL, KEY = sys.argv[1:]
chat = ChatOpenAI(model="chat", base_url=f"{URL}/v1", api_key=KEY, max_tokens=12, seed=3, max_retries=0)
messages = [("system", "Be short."), ("human", "Lock the study door.")]
whole = chat.invoke(messages)
assert whole.response_metadata["finish_reason"] in ("stop", "length"), whole
assert whole.usage_metadata["output_tokens"] > 0, whole
chunks = list(chat.stream(messages))
assert "".join(chunk.content for chunk in chunks) == whole.content
several = chat.batch([messages, "Open the window."])
assert several[0].content == whole.content
print("langchain-openai: all hold")
