"""``python -m homework_desk QUESTION``: one question, answered for real."""

from __future__ import annotations

import sys

import tt_compute as tt
from homework_desk.allowance import AllowanceSpent
from homework_desk.desk import CONFIG_FILE, Desk, DeskClosed, QuestionRefused


def main() -> int:
    """Answer what stands on the command line."""
    try:
        with tt.Client(CONFIG_FILE) as client:
            reply = Desk(client).answer("command line", " ".join(sys.argv[1:]))
    except (QuestionRefused, AllowanceSpent, DeskClosed, tt.TTComputeError) as error:
        print(error, file=sys.stderr)
        return 1
    print(reply.text)
    if not reply.sure:
        print("The desk is not sure; ask a teacher.", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
