"""Any address is taken or refused in our words, and no secret of one is ever shown."""

import re
from contextlib import suppress
from urllib.parse import urlsplit

from hypothesis import assume, given
from hypothesis import strategies as st

from neuroscribe.errors import LLMError, StoreError
from neuroscribe.secrets.addresses import fault_of, hidden
from neuroscribe.secrets.spellings import Spelling
from neuroscribe.study.spec import LLMSpec
from resources.llm.addresses import above, base_address, below
from resources.llm.openai_wire import ChatWire
from resources.llm.opening import LLMServers
from resources.llm.server import OpenAIServer
from resources.store.files import Files

PATH = "/chat/completions"
SECRET = "Hush4711"
PIECES = st.sampled_from((
    "http://", "https://", "s3://", "://", ":", "/", "//", "@", "?", "#", "&", "=", "[", "]", "%", "\\", " ",
    "é", "host", "127.0.0.1", "[::1]", ":8000", ":99999", "/v1", PATH, "api-version=2", "key=", "me:", "..",
)) | st.text(max_size=3)  # fmt: skip
ADDRESS = st.lists(PIECES, max_size=8).map("".join)


@given(ADDRESS)
def test_any_address_is_taken_or_refused_with_one_message(address: str):
    for opened in (lambda: OpenAIServer("m", base_url=address), lambda: Files(address)):
        with suppress(LLMError, StoreError):
            opened()


@given(ADDRESS)
def test_an_address_that_is_taken_gives_one_request_below_it(address: str):
    try:
        endpoint = OpenAIServer("m", base_url=address).endpoint
    except LLMError:
        return
    here, asked = urlsplit(endpoint.url), urlsplit(below(endpoint.url, PATH))
    assert (asked.scheme, asked.netloc, asked.query) == (here.scheme, here.netloc, here.query)
    assert asked.path == here.path.rstrip("/") + PATH
    assert base_address(endpoint.url, ChatWire.paths) == endpoint.url
    assert above(below(endpoint.url, PATH), PATH) == endpoint.url


SCHEMES = st.sampled_from(("http", "https", "s3"))
WORD = st.text(alphabet="abcXYZ019._~-+/%", max_size=8)


@given(SCHEMES, WORD, WORD, WORD, st.sampled_from(("", "x", "://", " said: ", '"')))
def test_a_password_in_an_address_is_found_and_hidden_whatever_stands_around_it(
    scheme: str, before: str, after: str, path: str, lead: str
):
    address = f"{scheme}://me:{before}{SECRET}{after}@host/{path}"
    # A port and a path, to everyone who reads it.
    assume(scheme == "s3" or not re.match(r"\d{1,5}/", before))
    assert fault_of(address)
    assert SECRET not in f"{hidden(f'{lead} {address}, again')}{fault_of(address)}"


@given(
    SCHEMES,
    st.sampled_from(("api_key", "apikey", "X-Amz-Signature", "sig", "access_token", "sasToken")),
    WORD,
)
def test_a_key_in_a_query_is_found_and_hidden(scheme: str, name: str, word: str):
    address = f"{scheme}://host/{word}?api-version=2&{name}={SECRET}{word}&x=1"
    assert fault_of(address)
    assert hidden(address) == f"{scheme}://host/{word}?api-version=2&{name}=[hidden]&x=1"


@given(st.text() | st.lists(PIECES, max_size=30).map("".join))
def test_any_text_is_searched_without_an_exception_and_hiding_twice_hides_no_more(text: str):
    once = hidden(text)
    assert hidden(once) == once
    spelling = Spelling(text)
    assert spelling.place(len(spelling.plain)) == len(text)


@given(ADDRESS)
def test_servers_of_studies_are_opened_or_refused_in_our_words(address: str):
    with suppress(LLMError):
        LLMServers(base_url=address).server(LLMSpec(model="m", provider="openai"))
