"""
The fingerprint of an error: equal for errors that differ only in numbers, quoted texts, addresses, paths and uuids.

It is made from the line that names the error and the function that failed, as far as the text of the error shows them:
tracebacks of Python, Node, Java, .NET and Go are known, and any other text is one message. Line numbers of the code
have no influence, nor has the directory in which it is installed.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from hashlib import blake2b
from typing import Final

#: The characters and the length of a fingerprint that a worker chooses.
FINGERPRINT: Final = "^[A-Za-z0-9._:-]{1,64}\\Z"
#: The most characters of the line that names an error.
LINE_LENGTH: Final = 300
#: How many different texts of errors are remembered with their fingerprints.
_REMEMBERED: Final = 512
_DIGITS_AS_0: Final = bytes.maketrans(b"123456789", b"0" * 9)
#: An error of at most so many characters is short: replacing its digits takes less time than parsing it.
_SHORT: Final = 400
#: An empty hash: to copy it is faster than to make a new one.
_NEW_DIGEST: Final = blake2b(digest_size=8)
#: A parsed error: a callable that finds the line that names the error, the text that it searches, and the name of the
#: function that failed (empty if it is not known).
_Parsed = tuple[Callable[[str], str], str, str]
#: Fingerprints by the shape of the error: its text if it is short, else the parsed error, with all digits replaced by
#: 0. A fingerprint is kept here only if the text from which it is computed has no digits: then all errors of the shape
#: have this fingerprint, since the rules treat all digits alike.
_OF_SHAPES: Final[dict[_Parsed | bytes, str]] = {}

#: Quoted texts; an apostrophe inside a word is no quote.
_QUOTED: Final = re.compile(
    r"""(?<!\w)[bru]?'[^'\n]*'(?!\w)|"[^"\n]*"|`[^`'\n]*['`](?!\w)|\u201c[^\u201d\n]*\u201d|\u2018[^\u2019\n]*\u2019"""
)
_QUOTE: Final = re.compile("['\"`\u201c\u2018]")
_AROUND: Final = ".,:;()[]{}<>!?\u2026|*+-"
#: The characters of numbers, times and addresses.
_NUMERIC: Final = "0123456789.,:"
#: Units, which are dropped with the number before them.
_UNITS: Final = frozenset(
    {"b", "kb", "mb", "gb", "tb", "kib", "mib", "gib", "tib", "bytes", "ns", "us", "ms", "s", "seconds", "minutes"}
)
#: Words before an error code: the number after such a word is kept.
_BEFORE_KEPT: Final = frozenset({"errno", "status", "code", "http", "signal", "error", "sqlstate", "statuscode"})
_LONG_CODE: Final = 6
#: A path; "and/or" is no path.
_PATH: Final = re.compile(r"(?:[A-Za-z]:|~|\.{1,2})?[\\/].*|[^\\/]+(?:[\\/][^\\/]+){2,}[\\/]?")
#: The name or the address of a host, perhaps with a port.
_HOST: Final = re.compile(
    r"[A-Za-z0-9_.-]+:\d{2,5}(?::\d+)?|[0-9a-f]*(?::[0-9a-f]*){3,}"
    r"|(?:[a-z0-9_-]+\.)+(?:com|net|org|io|dev|local|internal|svc|example|test|eu|de|uk|us|cloud)"
)
_FILE_END: Final = re.compile(
    r"\.(?:csv|json|xml|txt|pdf|png|jpe?g|gif|zip|gz|log|parquet|sql|ya?ml|tmp|xlsx?|html?|py|js|ts|go|java|sh|rb|cs|c|cc|cpp|h|rs|php"
    r"|toml|lock|bin|sock|pem|crt|key|mp[0-9]|mov|wav)(?::\d+)*$",
)
#: Uuids, hexadecimal numbers and other numbers with their units, also within words.
_NUMBER: Final = re.compile(
    r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}|[0-9]x[0-9a-f]+|(?<![a-z0-9])(?=[a-f]*[0-9])[0-9a-f]{7,}(?![a-z])"
    r"|[0-9][0-9.,:]*(?:(?:[mun\u00b5]?s|min|h|[kmgt]i?b|%)(?![a-z]))?"
)
#: Each match of _NUMBER contains such a character.
_DIGIT_OR_HYPHEN: Final = re.compile("[0-9-]")

#: The main line of a Python exception group, which begins with a margin.
_PYTHON_GROUP: Final = re.compile(r"^\s*\|\s?(\S.* \(\d+ sub-exceptions?\))", re.MULTILINE)
_PYTHON_FRAME: Final = re.compile(r'^[ |+]*File "([^"\n]+)", line \d+(?:, in ([^\n]+))?', re.MULTILINE)
_PYTHON_START: Final = "Traceback (most recent call last)"
#: A frame of Node, Java or .NET; the pattern's group is the function.
_AT_FRAME: Final = re.compile(r"^\s+at (?:async |new )?([^\s(]+)(?: \[as [^\]]*\])?[^\n]*", re.MULTILINE)
#: What Java and Node write before an error that ends the program.
_THREAD: Final = re.compile(r'^(?:Exception in thread "[^"\n]*"|Uncaught|Unhandled) ')
_THREADS: Final = ("Exception in thread", "Uncaught", "Unhandled")
_CAUSE: Final = re.compile(r"^(?:Caused by:|\s*---> )\s*([^\n]+)", re.MULTILINE)
#: A frame of Go: the function, then its file in a second line.
_GO_FRAME: Final = re.compile(r"^([\w./*()-]+?)\([^\n]*\)\n\t([^\s:]+):\d+", re.MULTILINE)
_GO_START: Final = re.compile(r"^goroutine \d+ \[", re.MULTILINE)
#: Python files that are not the user's own code.
_FOREIGN_FILE: Final = re.compile(
    r"[\\/](?:site|dist)-packages[\\/]|[\\/]lib(?:[0-9]{2})?[\\/]python\d|^<frozen |[\\/]Lib[\\/]"
)
#: Frames of Node, Java and .NET that are not the user's own code.
_FOREIGN_FRAME: Final = re.compile(
    r"node_modules|\(node:|\(internal/|at node:|at internal/|<anonymous>\)?$"
    r"|at (?:java|javax|jdk|sun|com\.sun|org\.springframework|org\.apache|org\.hibernate|kotlin|scala)\."
    r"|at (?:System|Microsoft)\.|at (?:async )?(?:Promise|process|Array|Object|Module|Function)\."
)
_FOREIGN_GO: Final = re.compile(r"^(?:panic|runtime[./])|[\\/]go[\\/](?:src|pkg/mod)[\\/]|[\\/]vendor[\\/]")
#: Words in a line of some output that name an error.
_ERROR_WORDS: Final = (
    r"\b(?:[a-z]*(?:error|exception)|fatal|failed|failure|cannot|can't|denied|not found|no such|refused|panic"
    r"|panicked|invalid|timed? ?out|killed|unable|abort(?:ed|ing)?)\b"
)
_NAMES_ERROR: Final = re.compile(_ERROR_WORDS, re.IGNORECASE)
_NAMES_ERROR_IN_LOWER_CASE: Final = re.compile(_ERROR_WORDS)
#: Parts of words: each word of _ERROR_WORDS contains one of them.
_PARTS: Final = (
    *("error", "exception", "fatal", "fail", "cannot", "can't", "denied", "not found", "no such", "refused", "panic"),
    *("invalid", "time", "killed", "unable", "abort"),
)


def error_line(error: str) -> str:
    """The line that names an error, at most LINE_LENGTH characters; empty without an error."""
    find_line, text, _ = _parsed(error)
    return _trimmed(find_line(text))


@lru_cache(maxsize=_REMEMBERED)
def fingerprint(error: str) -> str:
    """The fingerprint of an error, by its text: 16 hexadecimal digits."""
    # The frames of a long error seldom differ in digits: zeros replace digits only in the text before or after them.
    is_short = len(error) <= _SHORT and error.isascii()
    parsed = None if is_short else _parsed(error)
    shape = error.encode().translate(_DIGITS_AS_0) if parsed is None else _with_zeros(parsed)
    found = _OF_SHAPES.get(shape)
    if found is None:
        find_line, text, function = parsed or _parsed(error)
        found, has_digits = _of_line(_without_quotes(_trimmed(find_line(text))), function)
        if not has_digits:
            if len(_OF_SHAPES) >= _REMEMBERED:
                _OF_SHAPES.clear()
            _OF_SHAPES[shape] = found
    return found


def _with_zeros(parsed: _Parsed) -> _Parsed:
    """A parsed error, with all digits of its text replaced by 0."""
    find_line, text, function = parsed
    for digit in "123456789":
        text = text.replace(digit, "0")
    return find_line, text, function


def _trimmed(line: str) -> str:
    """The line that names an error, cut to LINE_LENGTH, without spaces around it or a prefix such as "Uncaught"."""
    line = line.strip()
    if line and line[0] in "EU" and line.startswith(_THREADS):
        line = _THREAD.sub("", line, count=1)
    return line if len(line) <= LINE_LENGTH else line[:LINE_LENGTH]


def _without_quotes(line: str) -> str:
    """A line with a space for each quoted text."""
    if "'" in line or '"' in line or "`" in line or not line.isascii():
        quote = _QUOTE.search(line)
        if quote is not None:
            # Start two characters earlier: a prefix such as b, and the character before it, decide whether this is a
            # quote.
            start = max(0, quote.start() - 2)
            return line[:start] + _QUOTED.sub(" ", line[start:])
    return line


@lru_cache(maxsize=_REMEMBERED)
def _of_line(line: str, function: str) -> tuple[str, bool]:
    """
    The fingerprint of errors with this line (without quoted texts) and this function, and whether the fingerprint
    depends on digits.
    """
    compared = f"{_message(line)}\n{function}".encode("utf-8", "replace")
    state = _NEW_DIGEST.copy()
    state.update(compared)
    return state.hexdigest(), len(compared.translate(None, b"0123456789")) < len(compared)


def _message(line: str) -> str:
    """The words of a line that are compared, in lower case: most numbers, and all paths and addresses, are dropped."""
    words, before, dropped = list[str](), "", 0
    for word in line.lower().split():
        if not word.isalpha():
            word = word.strip(_AROUND)
            if not word.isalpha():
                # `_kept` needs the word with its capitals: capitals distinguish a class name from an address.
                word = _number(word, before) if word.isdecimal() else _kept(line.split()[len(words) + dropped], before)
        elif not before and word in _UNITS:
            word = ""
        if word:
            words.append(word)
        else:
            dropped += 1
        before = word
    return " ".join(words)


@lru_cache(maxsize=4 * _REMEMBERED)
def _kept(word: str, before: str) -> str:
    """The compared part of a word that has digits or signs, maybe empty; `before` is the word before it."""
    word = word.strip(_AROUND)
    if "=" in word:
        name, _, value = word.partition("=")
        if value and "://" not in name:
            return f"{_kept(name, '')}={_kept(value, name.lower().strip(_AROUND))}"
    if word.isdecimal():
        return _number(word, before)
    if not word.strip(_NUMERIC) or _is_place(word):
        return ""
    lower = word.lower()
    return _NUMBER.sub("", lower).strip(_AROUND) if _DIGIT_OR_HYPHEN.search(lower) else lower


def _number(word: str, before: str) -> str:
    """The number if it is compared, else an empty text; `before` is the word before it."""
    return word if before in _BEFORE_KEPT and len(word) < _LONG_CODE else ""


def _is_place(word: str) -> bool:
    """Whether a word is an address or a path. A word with capitals and dots is the name of a class."""
    if "://" in word or "@" in word[1:] or ("." in word and _FILE_END.search(word)):
        return True
    if "/" in word or "\\" in word:
        return _PATH.fullmatch(word) is not None
    return ("." in word or ":" in word) and _HOST.fullmatch(word) is not None


def _parsed(error: str) -> _Parsed:
    """Parse an error: a traceback of one of the known languages, or any other text."""
    if "\n" not in error:
        return str, error, ""
    if (found := _python(error)) is not None:
        return found
    if "goroutine " in error and "\n\t" in error and (start := _GO_START.search(error)):
        return _go(error, start)
    if "at " in error and (first := _AT_FRAME.search(error)):
        return _at(error, first)
    return _named, error, ""


def _python(error: str) -> _Parsed | None:
    """
    The exception that a Python traceback ends with: of several, the last; of a group, the group itself.

    None without a traceback.
    """
    # Most tracebacks: the text up to the last frame is equal for all errors of a function, so the function is cached.
    _, found, tail = error.rpartition('\n  File "')
    if found and 'File "' not in tail and "sub-exception" not in error and _PYTHON_START not in tail:
        frame, _, rest = tail.partition("\n")
        function = _own_function(frame) or _function_of(error[: len(error) - len(tail) + len(frame)])
        if function is not None:
            return _unindented_line, rest, function
    elif not found and 'File "' not in error:
        return None
    last = _frame_before(error, len(error))
    if last is None:
        return None
    if "sub-exception" in error and (group := _PYTHON_GROUP.search(error)) is not None:
        return str, group[1], ""
    line, _, rest = error[last.end() :].partition("\n")
    function = _last_own(error, last)
    return (_unindented_line, rest, function) if rest.strip() else (str, line, function)


def _unindented_line(text: str) -> str:
    """The first line with text and without indentation; without one, the last line with text."""
    rest = text
    while rest:
        line, _, rest = rest.partition("\n")
        if line and line[0] not in " \t" and not line.isspace():
            return line
    return _last_line(text.split("\n"))


@lru_cache(maxsize=_REMEMBERED)
def _own_function(frame: str) -> str | None:
    """The file and function of a frame, given without its `File "`; None if it is incomplete, or a library's."""
    found = _PYTHON_FRAME.fullmatch(f'File "{frame}')
    if found is None:
        return None
    name, is_foreign = _file(found[1])
    return None if is_foreign else f"{name}:{found[2]}"


@lru_cache(maxsize=_REMEMBERED)
def _function_of(frames: str) -> str | None:
    """The function that failed, from a traceback up to its last frame; None if the text does not end with a frame."""
    last = _frame_before(frames, len(frames))
    if last is None or last.end() < len(frames):
        return None
    return _last_own(frames, last)


def _frame_before(error: str, end: int) -> "re.Match[str] | None":
    """The last frame in a Python traceback before the position `end`."""
    while (at := error.rfind('File "', 0, end)) >= 0:
        end = error.rfind("\n", 0, at) + 1
        if (frame := _PYTHON_FRAME.match(error, end)) is not None:
            return frame
    return None


def _last_own(error: str, last: "re.Match[str]") -> str:
    """
    The file and function of the innermost frame of the user's own code; of `last` if no frame is the user's own.

    `last` is the innermost frame; only frames of the last traceback count.
    """
    start = error.rfind(_PYTHON_START)
    if last.start() < start:
        return ""
    own: re.Match[str] | None = last
    while own is not None and own.start() >= start:
        file, function = own.groups()
        name, is_foreign = _file(file)
        if not is_foreign:
            return f"{name}:{function}"
        own = _frame_before(error, own.start())
    return f"{_file(last[1])[0]}:{last[2]}"


@lru_cache(maxsize=_REMEMBERED)
def _file(path: str) -> tuple[str, bool]:
    """The name of a file, and whether it belongs to a library rather than to the user's own code."""
    return path.replace("\\", "/").rpartition("/")[2], _FOREIGN_FILE.search(path) is not None


def _at(error: str, first: "re.Match[str]") -> _Parsed:
    """The error above the frames of Node, Java or .NET; if it names causes, the innermost cause."""
    causes = list(_CAUSE.finditer(error)) if "Caused by:" in error or "---> " in error else []
    if not causes:
        return _last_named, error[: first.start()], _own_of_frames(error[first.start() :]) or ""
    cause = causes[-1]
    function = _own_of_frames(error[cause.end() + 1 :]) or _own_of_frames(error[first.start() :])
    return str, cause[1], function or ""


@lru_cache(maxsize=_REMEMBERED)
def _own_of_frames(text: str) -> str | None:
    """The function of the first frame of the user's own code, or else of the first frame; None without frames."""
    first = None
    for frame in _AT_FRAME.finditer(text):
        if not _FOREIGN_FRAME.search(frame[0]):
            return frame[1]
        first = first or frame[1]
    return first


def _last_named(head: str) -> str:
    """The line that names the error above the first frame: Node shows lines of the program first."""
    head = head.strip("\n")
    if "\n" not in head:
        return head
    lines = [line for line in head.split("\n") if line.strip()]
    if len(lines) < 2:
        return lines[0] if lines else ""
    after = next((at for at, line in enumerate(lines) if line.strip("\t ^~") == ""), -1)
    return lines[after + 1] if after + 1 < len(lines) else lines[0]


def _go(error: str, start: "re.Match[str]") -> _Parsed:
    """The panic of a Go program, and the innermost function of its first goroutine that is the user's own."""
    end = error.find("\n\n", start.end())
    name = ""
    for frame in _GO_FRAME.finditer(error, start.end(), len(error) if end < 0 else end):
        is_own = not _FOREIGN_GO.search(frame[1]) and not _FOREIGN_GO.search(frame[2])
        if is_own or not name:
            name = frame[1]
        if is_own:
            break
    return _named, error[: start.start()], name.rpartition("/")[2]


def _named(text: str) -> str:
    """The line of a text that names an error: the first with a word such as "failed", or else the first line."""
    text = text.strip()
    if not text.isascii():
        return next(filter(_NAMES_ERROR.search, text.split("\n")), text.partition("\n")[0])
    # Few lines name an error: searching the whole text for parts of words is faster than matching each line.
    lower, end = text.lower(), 0
    parts = [part for part in _PARTS if part in lower]
    while found := [at for part in parts if (at := lower.find(part, end)) >= 0]:
        start = lower.rfind("\n", 0, min(found)) + 1
        line = lower[start:].partition("\n")[0]
        end = start + len(line)
        if _NAMES_ERROR_IN_LOWER_CASE.search(line):
            return text[start:end]
    return text.partition("\n")[0]


def _last_line(lines: list[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "")
