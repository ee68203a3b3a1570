"""The doorway to models behind an OpenAI-compatible endpoint: one question in, one reply out.

The client library retries what may pass (429, 5xx, a torn connection), a bounded number of times, and waits as long as
Retry-After says, up to two minutes. What no retry mends ends the stage: EndpointError. The key comes from an
environment variable and goes into the request's header, nowhere else: no error, log or file holds it, nor what a server
that repeats it has sent.
"""

from __future__ import annotations

import asyncio
import html
import json
import os
import re
from dataclasses import replace
from types import TracebackType
from typing import Any

from s1.config.data import Endpoint
from s1.config.schema import ConfigError
from s1.data.replies import Reply, ReplyFault, fault_of, rejection, reply_of
from s1.stages import ChatConfig
from sweep.errors import SweepError

RETRIES = 10  # of one question: about a minute without an answer where no Retry-After asks for more
SILENCE_S = 1800.0  # how long a server may think before its first byte
INTERRUPTION_PAUSES_S = (1.0, 4.0, 16.0)  # before asking again what the server broke off
HIDDEN = "<key>"
LEAST_KEY_CHARACTERS = 8
LONGEST_NUMBER = 20  # digits
SERVER_WORDS = 300  # characters of the server's own message that an error quotes
TOO_MUCH = (400, 413, 422)  # of this one question; the others may be taken
FIXES = {
    401: "Check that the key is of this service and still valid.",
    402: "The account has no credit left: top it up and run the command again; answers so far are kept.",
    403: "Check that the account may use this model.",
    404: "Check the model's name, and base_url: for most servers it ends in /v1.",
    429: "Lower concurrency or requests_per_minute and run the command again; answers so far are kept.",
}
LATER = "Run the command again when the server is well; answers so far are kept."


class EndpointError(SweepError, RuntimeError):
    """A model that cannot be asked any further, or is not fit for what it is asked."""


class ChatClient:
    """One model behind one endpoint. `async with Client(...) as ask: reply = await ask(row_id, question)`."""

    def __init__(self, endpoint: Endpoint, asked: ChatConfig) -> None:
        from openai import AsyncOpenAI, Timeout

        self._endpoint = endpoint
        self._asked = asked
        self._key = key_of_endpoint(endpoint)
        self._key_as_written = _as_written(self._key) if self._key else None
        self._client = AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=self._key or "none",  # never the library's own choice, OPENAI_API_KEY
            max_retries=RETRIES,
            timeout=Timeout(SILENCE_S, connect=30.0),
        )

    async def __aenter__(self) -> ChatClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        await self._client.close()

    async def __call__(self, row_id: str, question: str) -> Reply:
        """The reply to one question. Raises EndpointError when it makes no sense to ask on."""
        from openai import APIConnectionError, APIStatusError

        try:
            return await self._insist(row_id, question)
        except APIStatusError as error:
            if error.status_code in TOO_MUCH:
                return self._rejected(row_id, f"{error.status_code}: {error.message}")
            raise EndpointError(self._denied(error.status_code, error.message)) from None
        except APIConnectionError as error:
            raise EndpointError(self._says(self._without_key(str(error)).rstrip("."), LATER)) from None
        except json.JSONDecodeError:
            raise EndpointError(self._says("answers with something that is no JSON", FIXES[404])) from None

    async def _insist(self, row_id: str, question: str) -> Reply:
        """Ask again what the server broke off, a few times; then its reply is as it is."""
        for pause_s in (*INTERRUPTION_PAUSES_S, None):
            # Raw, because the library's own types keep neither the thoughts nor the usage as the server gave them.
            response = await self._client.chat.completions.with_raw_response.create(
                **chat_request(self._asked, question)
            )
            try:
                reply = reply_of(row_id, _body(response.content), self._hidden)
            except RecursionError:
                return rejection(row_id, "what the server replied is nested too deep to be read")
            if reply is not None and fault_of(reply) is not ReplyFault.INTERRUPTED:
                return reply
            if pause_s is not None:
                await asyncio.sleep(pause_s)
        if reply is None:
            words = self._without_key(response.text)
            raise EndpointError(self._says(f"no choice in what it answers ({words})", LATER))
        return reply

    def _rejected(self, row_id: str, words: str) -> Reply:
        """The key is taken out before the words are cut, or a part of it would stay."""
        reply = rejection(row_id, " ".join(words.split()), self._without_key_whole)
        return replace(reply, refusal=(reply.refusal or "")[:SERVER_WORDS])

    def _denied(self, status: int, message: str) -> str:
        """Servers that refuse a key like to quote it, so of those only the number is told."""
        words = "" if status in (401, 403) else f" ({self._without_key(message)})"
        return self._says(f"status {status}{words}", FIXES.get(status, LATER))

    def _says(self, what: str, mend: str) -> str:
        return f"endpoint {self._endpoint.base_url}, model {self._asked.model}: {what}. {mend}"

    def _without_key(self, text: str) -> str:
        """The server's words on one line, without what must not be told."""
        return self._without_key_whole(" ".join(text.split()))[:SERVER_WORDS]

    def _without_key_whole(self, text: str) -> str:
        return self._key_as_written.sub(HIDDEN, text) if self._key_as_written else text

    def _hidden(self, text: str) -> str:
        """What a model said, without the key; one that is short, a placeholder such as `none`, may be a word of it."""
        return text if len(self._key or "") < LEAST_KEY_CHARACTERS else self._without_key_whole(text)


def _body(content: bytes) -> Any:
    """A response as JSON; what is no UTF-8 comes as lone surrogates, and a number that is none as None.

    Raises json.JSONDecodeError, RecursionError.
    """
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", errors="surrogateescape")
    return json.loads(text, parse_int=lambda digits: int(digits) if len(digits) <= LONGEST_NUMBER else None)


def _as_written(key: str) -> re.Pattern[str]:
    """The key plainly, and with any of its letters escaped as JSON (once or again), an address or HTML does it."""
    letters = []
    for letter in key:
        code = f"{ord(letter):02x}"
        slashes = r"\\*" if letter in "\"'\\/" else ""
        numbers = rf"\\+(?:u00|x)(?i:{code})|%(?:25)*(?i:{code})|&#(?:0*{ord(letter)}|[xX]0*(?i:{code}));"
        letters.append(rf"(?:{slashes}{re.escape(letter)}|{re.escape(html.escape(letter))}|{numbers})")
    return re.compile("".join(letters))


def chat_request(asked: ChatConfig, question: str) -> dict[str, Any]:
    """The body of a request: the question alone, as in s1, and what the config sets; the rest is up to the server."""
    messages = [{"role": "user", "content": question}]
    if asked.system is not None:
        messages.insert(0, {"role": "system", "content": asked.system})
    chosen = {"temperature": asked.temperature, "top_p": asked.top_p, "seed": asked.seed}
    given = {name: value for name, value in chosen.items() if value is not None}
    return {"model": asked.model, "messages": messages, "max_tokens": asked.max_tokens, **given}


def key_of_endpoint(endpoint: Endpoint) -> str | None:
    """The key, from the environment; None: the endpoint needs none. Raises ConfigError if it is not there."""
    if endpoint.key_variable is None:
        return None
    key = os.environ.get(endpoint.key_variable, "").strip()
    if not key or not key.isprintable() or not key.isascii():
        raise ConfigError(
            f"endpoint.key_variable {endpoint.key_variable}: {'no key' if key else 'nothing'} in this environment"
            f" variable. Export the key of {endpoint.base_url} in it."
        )
    return key
