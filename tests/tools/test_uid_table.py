"""The table of uids agrees with a dict, and takes little memory."""

from random import Random

from jobengine.tools.uid_table import UidTable


def test_a_table_that_grows_agrees_with_a_dict() -> None:
    random, table = Random(1), UidTable()
    expected: dict[str, int] = {}
    for number in range(30_000):
        uid = str(random.randrange(5000))
        assert table.get(uid) == expected.get(uid)
        assert table.put(uid, number) == expected.get(uid)
        expected[uid] = number
    assert sorted(table.numbers()) == sorted(expected.values())
    assert [table.get(uid) for uid in expected] == list(expected.values())


def test_uids_with_the_same_first_hash_are_told_apart() -> None:
    class Same(str):
        __slots__ = ()

        def __hash__(self) -> int:
            return 5

    table = UidTable()
    for number in range(100):
        assert table.put(Same(f"uid-{number}"), number) is None
    assert [table.get(Same(f"uid-{number}")) for number in range(100)] == list(range(100))


def test_a_uid_takes_24_to_48_bytes() -> None:
    table = UidTable()
    for number in range(100_000):
        table.put(str(number), number)
        assert number < 100 or 23 * number < table.memory < 49 * number
