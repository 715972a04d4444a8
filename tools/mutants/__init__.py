"""Faults that are put into the code on purpose, to see that the tests notice them: `make mutants`.

    python -m tools.mutants                 all faults
    python -m tools.mutants ledger          those of one room
    python -m tools.mutants ledger -n 3 17  some of these
    python -m tools.mutants --list          what there is

They are for the rooms where a silent fault costs money or data. Each room has a file here, `<room>.diff`:

    tests -k sqlite tests/writing/test_sync.py    arguments of pytest; a line for each or for several
    file src/docshelf/operations/upsert.py        the file of the faults that follow
    first tests/writing/test_guard.py             of these tests, the ones that notice the next faults soonest

    -    the lines that a fault replaces; in the file they occur once
    +    what stands there instead; nothing, if it removes them

An empty line ends a fault, and `#` begins a comment. Each fault gets a copy of the project, in which the tests of its
room run until one fails. If none does, the fault survives: pin it with a test that fails under it, or remove the code
that nothing needs. The exit code is 1 if a fault survived.
"""
