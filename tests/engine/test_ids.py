from uuid import RFC_4122, UUID

from jobengine.engine.ids import new_uuid


def test_a_new_id_is_a_random_uuid_in_its_usual_form() -> None:
    for _ in range(1000):
        text = new_uuid()
        parsed = UUID(text)
        assert (parsed.version, parsed.variant, str(parsed)) == (4, RFC_4122, text)


def test_no_two_ids_are_alike_and_every_random_bit_takes_both_values() -> None:
    ids = {UUID(new_uuid()).int for _ in range(1000)}
    assert len(ids) == 1000
    ones, zeros = 0, 0
    for number in ids:
        ones |= number
        zeros |= ~number
    # Six bits say that it is a random UUID, and are always the same.
    assert (ones & zeros & ((1 << 128) - 1)).bit_count() == 122
