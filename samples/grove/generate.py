"""Write the sources of `grove` into a directory: the same bytes every time.

    python generate.py DIRECTORY

BRANCHES directories, each with LEAVES C files, their headers and DATA text files, a Makefile.am for each
directory. The program adds up what every leaf returns; the test compares with the sum computed here.
"""

from __future__ import annotations

import sys
from pathlib import Path

BRANCHES = 30
LEAVES = 40
DATA = 25

CONFIGURE = """\
AC_INIT([grove], [2.0])
AC_CONFIG_SRCDIR([src/main.c])
AC_CONFIG_AUX_DIR([build-aux])
AM_INIT_AUTOMAKE([foreign no-dist-gzip dist-xz subdir-objects])
AM_SILENT_RULES([yes])
AC_PROG_CC
AC_PROG_RANLIB
AM_PROG_AR
AC_CHECK_HEADERS([stdint.h unistd.h sys/stat.h])
AC_CHECK_FUNCS([strtol memcpy])
AC_CONFIG_HEADERS([config.h])
AC_CONFIG_FILES([Makefile src/Makefile
{files}])
AC_OUTPUT
"""

LEAF = """\
#include "leaf_{leaf:02}.h"

static const int rings[] = {{ {rings} }};

int branch_{branch:02}_leaf_{leaf:02}(int season)
{{
    int sum = 0;

    for (unsigned i = 0; i < sizeof rings / sizeof *rings; i++)
        sum += rings[i] * season;
    return sum;
}}
"""

MAIN = """\
#include <stdio.h>
#include "config.h"

{declarations}

int main(void)
{{
    long sum = 0;

{calls}
    printf("%ld\\n", sum);
    return 0;
}}
"""


def rings(branch: int, leaf: int) -> list[int]:
    """Eight numbers that depend on nothing but the place of the leaf."""
    return [(branch * 131 + leaf * 31 + i * 17) % 97 for i in range(8)]


def write(path: Path, text: str) -> None:
    """Write a file and the directories above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_branch(top: Path, branch: int) -> int:
    """Write one directory; return the sum of its leaves in season 1."""
    here = top / f"branch_{branch:02}"
    total = 0
    names, calls, declarations = [], [], []
    for leaf in range(LEAVES):
        numbers = rings(branch, leaf)
        total += sum(numbers)
        function = f"branch_{branch:02}_leaf_{leaf:02}"
        guard = f"GROVE_{function.upper()}_H"
        declaration = f"int {function}(int season);"
        write(here / f"leaf_{leaf:02}.h", f"#ifndef {guard}\n#define {guard}\n{declaration}\n#endif\n")
        text = LEAF.format(branch=branch, leaf=leaf, rings=", ".join(map(str, numbers)))
        write(here / f"leaf_{leaf:02}.c", text)
        names += [f"leaf_{leaf:02}.c", f"leaf_{leaf:02}.h"]
        declarations.append(f'#include "leaf_{leaf:02}.h"')
        calls.append(f"    sum += {function}(season);")
    trunk = [f"long branch_{branch:02}(int season)", "{", "    long sum = 0;", "", *calls, "    return sum;", "}"]
    prototype = f"long branch_{branch:02}(int season);"
    write(here / "trunk.c", "\n".join([*declarations, prototype, "", *trunk]) + "\n")
    data = [f"note_{branch:02}_{number:02}.txt" for number in range(DATA)]
    for number, name in enumerate(data):
        write(here / name, f"branch {branch}, note {number}\n" * (number + 1))
    library = f"libbranch_{branch:02}"
    makefile = [f"noinst_LIBRARIES = {library}.a", f"{library}_a_SOURCES = trunk.c \\"]
    makefile += [f"\t{name} \\" for name in names[:-1]] + [f"\t{names[-1]}", "notesdir = $(pkgdatadir)/notes"]
    makefile += ["dist_notes_DATA = \\", *(f"\t{name} \\" for name in data[:-1]), f"\t{data[-1]}"]
    write(here / "Makefile.am", "\n".join(makefile) + "\n")
    return total


def generate(top: Path) -> None:
    """Write everything under `top`."""
    expected = sum(write_branch(top, branch) for branch in range(BRANCHES))
    branches = [f"branch_{branch:02}" for branch in range(BRANCHES)]
    write(top / "configure.ac", CONFIGURE.format(files="\n".join(f"  {name}/Makefile" for name in branches)))
    write(top / "Makefile.am", f"SUBDIRS = {' '.join(branches)} src\n")
    main = MAIN.format(
        declarations="\n".join(f"long {name}(int season);" for name in branches),
        calls="\n".join(f"    sum += {name}(1);" for name in branches),
    )
    write(top / "src/main.c", main)
    libraries = " ".join(f"../{name}/lib{name}.a" for name in branches)
    check = f'#!/bin/sh\nsum=$(./grove)\necho "sum is $sum"\ntest "$sum" = {expected}\n'
    write(top / "src/sum.test", check)
    (top / "src/sum.test").chmod(0o755)
    makefile = ["bin_PROGRAMS = grove", "grove_SOURCES = main.c", f"grove_LDADD = {libraries}"]
    makefile += ["TESTS = sum.test", "EXTRA_DIST = sum.test"]
    write(top / "src/Makefile.am", "\n".join(makefile) + "\n")


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
