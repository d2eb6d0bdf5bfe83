"""
The fingerprint of an error: equal for errors that differ only in numbers, quoted texts, addresses, paths and uuids.

It is made from the line that names the error and the function that failed, as far as the text of the error shows them:
tracebacks of Python, Node, Java, .NET and Go are known, and any other text is one message. Line numbers of the code
have no influence, nor has the directory in which it is installed.
"""

import re
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
#: Words before a number that tells what went wrong: such a number is kept.
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

#: The main line of a Python exception group, which begins with a margin.
_PYTHON_GROUP: Final = re.compile(r"^\s*\|\s?(\S.* \(\d+ sub-exceptions?\))", re.MULTILINE)
_PYTHON_FRAME: Final = re.compile(r'^[ |+]*File "([^"\n]+)", line \d+(?:, in ([^\n]+))?', re.MULTILINE)
#: A line that is not indented.
_PYTHON_LINE: Final = re.compile(r"\n(?![ \t])([^\n]*\S[^\n]*)")
_PYTHON_START: Final = "Traceback (most recent call last)"
#: A frame of Node, Java or .NET; the group is its function.
_AT_FRAME: Final = re.compile(r"^\s+at (?:async |new )?([^\s(]+)(?: \[as [^\]]*\])?[^\n]*", re.MULTILINE)
#: What Java and Node write before an error that ends the program.
_THREAD: Final = re.compile(r'^(?:Exception in thread "[^"\n]*"|Uncaught|Unhandled) ')
_THREADS: Final = ("Exception in thread", "Uncaught", "Unhandled")
_CAUSE: Final = re.compile(r"^(?:Caused by:|\s*---> )\s*([^\n]+)", re.MULTILINE)
#: A frame of Go: the function, and its file in the next line.
_GO_FRAME: Final = re.compile(r"^([\w./*()-]+?)\([^\n]*\)\n\t([^\s:]+):\d+", re.MULTILINE)
_GO_START: Final = re.compile(r"^goroutine \d+ \[", re.MULTILINE)
#: Python files that are not the user's own code and, below, such frames of other languages.
_FOREIGN_FILE: Final = re.compile(
    r"[\\/](?:site|dist)-packages[\\/]|[\\/]lib(?:[0-9]{2})?[\\/]python\d|^<frozen |[\\/]Lib[\\/]"
)
_FOREIGN_FRAME: Final = re.compile(
    r"node_modules|\(node:|\(internal/|at node:|at internal/|<anonymous>\)?$"
    r"|at (?:java|javax|jdk|sun|com\.sun|org\.springframework|org\.apache|org\.hibernate|kotlin|scala)\."
    r"|at (?:System|Microsoft)\.|at (?:async )?(?:Promise|process|Array|Object|Module|Function)\."
)
_FOREIGN_GO: Final = re.compile(r"^(?:panic|runtime[./])|[\\/]go[\\/](?:src|pkg/mod)[\\/]|[\\/]vendor[\\/]")
#: A line of some output that names an error.
_NAMES_ERROR: Final = re.compile(
    r"\b(?:[a-z]*error|[a-z]*exception|fatal|failed|failure|cannot|can't|denied|not found|no such|refused|panic"
    r"|panicked|invalid|timed? ?out|killed|unable|abort(?:ed|ing)?)\b",
    re.IGNORECASE,
)


def error_line(error: str) -> str:
    """The line that names an error, at most LINE_LENGTH characters; empty without an error."""
    return _parsed(error)[0]


@lru_cache(maxsize=_REMEMBERED)
def fingerprint(error: str) -> str:
    """The fingerprint of an error, by its text: 16 hexadecimal digits."""
    shape = error.encode("utf-8", "surrogatepass").translate(_DIGITS_AS_0)
    return _of_shape(shape) or _digest(*_compared(error))


@lru_cache(maxsize=_REMEMBERED)
def _of_shape(shape: bytes) -> str | None:
    """
    The fingerprint of all errors that equal `shape` once their digits are replaced by 0; None if it depends on digits.

    The rules tell digits from other characters, but not one digit from another. So fingerprints depend on digits only
    if some are left in what is compared.
    """
    message, function = _compared(shape.decode("utf-8", "surrogatepass"))
    return None if "0" in message or "0" in function else _digest(message, function)


def _compared(error: str) -> tuple[str, str]:
    """What is compared of errors: the line that names the error, without what varies in it, and the function."""
    line, function = _parsed(error)
    if (quote := _QUOTE.search(line)) is not None:
        # A prefix of the quote and the character before that count too.
        start = max(0, quote.start() - 2)
        line = line[:start] + _QUOTED.sub(" ", line[start:])
    return _message(line), function


def _digest(message: str, function: str) -> str:
    return blake2b(f"{message}\n{function}".encode("utf-8", "replace"), digest_size=8).hexdigest()


@lru_cache(maxsize=_REMEMBERED)
def _message(line: str) -> str:
    """The line that names an error, without its quoted texts, and without what else varies in it."""
    words, before = [], ""
    for word in line.split():
        if word.isalpha():
            lower = word.lower()
            before = "" if not before and lower in _UNITS else lower
        else:
            before = _kept(word, before)
        if before:
            words.append(before)
    return " ".join(words)


@lru_cache(maxsize=4 * _REMEMBERED)
def _kept(word: str, before: str) -> str:
    """The part of a word that is compared, if the word has not only letters; `before` is the word before it."""
    word = word.strip(_AROUND)
    name, sign, value = word.partition("=")
    if sign and value and "://" not in name:
        return f"{_kept(name, '')}={_kept(value, name.lower().strip(_AROUND))}"
    if word.isdecimal():
        return word if before in _BEFORE_KEPT and len(word) < _LONG_CODE else ""
    if not word.strip(_NUMERIC) or _is_place(word):
        return ""
    return _NUMBER.sub("", word.lower()).strip(_AROUND)


def _is_place(word: str) -> bool:
    """Whether a word is an address or a path. A word with capitals and dots is the name of a class."""
    if _FILE_END.search(word) or "://" in word or "@" in word[1:]:
        return True
    if "/" in word or "\\" in word:
        return _PATH.fullmatch(word) is not None
    return ("." in word or ":" in word) and _HOST.fullmatch(word) is not None


def _parsed(error: str) -> tuple[str, str]:
    """The line that names an error, and the function that failed; the function is empty if it is not known."""
    if "\n" not in error:
        line, frame = error, ""
    elif 'File "' in error and (found := _python(error)) is not None:
        line, frame = found
    elif "\n\t" in error and (start := _GO_START.search(error)):
        line, frame = _go(error, start)
    elif "at " in error and (frames := list(_AT_FRAME.finditer(error))):
        line, frame = _at(error, frames)
    else:
        line, frame = _named(error), ""
    line = line.strip()
    if line.startswith(_THREADS):
        line = _THREAD.sub("", line, count=1)
    return line[:LINE_LENGTH], frame


def _python(error: str) -> tuple[str, str] | None:
    """
    The exception that a Python traceback ends with: of several, the last; of a group, the group itself.

    None without a traceback.
    """
    # Errors of one function with different messages differ only after the last frame.
    end = error.find("\n", error.rfind('File "'))
    if end >= 0 and (function := _function_of(error[:end])) is not None:
        line, rest = _PYTHON_LINE.search(error, end), error[end:]
        if line is not None and "sub-exception" not in rest and _PYTHON_START not in rest:
            return line[1], function
    last = _frame_before(error, len(error))
    if last is None:
        return None
    if "sub-exception" in error and (group := _PYTHON_GROUP.search(error)) is not None:
        return group[1], ""
    line = _PYTHON_LINE.search(error, last.end())
    return line[1] if line is not None else _last_line(error[last.end() :].split("\n")), _last_own(error, last)


@lru_cache(maxsize=_REMEMBERED)
def _function_of(frames: str) -> str | None:
    """The function that failed, from a traceback up to its last frame; None if the text does not end with a frame."""
    last = _frame_before(frames, len(frames))
    if last is None or "sub-exception" in frames or "\n" in frames[last.end() :]:
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
    The file and function of the innermost frame of the user's own code; of all code if none is.

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


def _at(error: str, frames: "list[re.Match[str]]") -> tuple[str, str]:
    """The error above the frames of Node, Java or .NET; of several causes, the first in time."""
    causes = list(_CAUSE.finditer(error))
    if causes:
        line, start = causes[-1][1], causes[-1].end()
        frames = [one for one in frames if one.start() >= start] or frames
    else:
        line = _last_named(error[: frames[0].start()])
    own = next((one for one in frames if not _FOREIGN_FRAME.search(one[0])), frames[0])
    return line, own[1]


def _last_named(head: str) -> str:
    """The line that names the error above the first frame: Node shows lines of the program first."""
    lines = [line for line in head.split("\n") if line.strip()]
    if len(lines) < 2:
        return lines[0] if lines else ""
    after = next((at for at, line in enumerate(lines) if line.strip("\t ^~") == ""), -1)
    return lines[after + 1] if after + 1 < len(lines) else lines[0]


def _go(error: str, start: "re.Match[str]") -> tuple[str, str]:
    """The panic of a Go program, and the innermost function of its first goroutine that is the user's own."""
    end = error.find("\n\n", start.end())
    frames = [(one[1], one[2]) for one in _GO_FRAME.finditer(error, start.end(), len(error) if end < 0 else end)]
    own = (name for name, file in frames if not _FOREIGN_GO.search(name) and not _FOREIGN_GO.search(file))
    name = next(own, frames[0][0] if frames else "")
    return _named(error[: start.start()]), name.rpartition("/")[2]


def _named(text: str) -> str:
    """The line of a text that names an error: the first with a word such as "failed", or else the first line."""
    lines = [line for line in text.split("\n") if line.strip()]
    return next((line for line in lines if _NAMES_ERROR.search(line)), lines[0] if lines else "")


def _last_line(lines: list[str]) -> str:
    return next((line for line in reversed(lines) if line.strip()), "")
