#!/usr/bin/env bash
# Writes the King James Bible as a text to train on: a verse a line, a blank line after each chapter.
#
#   examples/demo/kjv_corpus.sh FILE
#
# Debian's bible-kjv prints "Ge1:1 In the beginning ..."; the reference is taken off. A chapter is thus a
# paragraph, and `plinth tokenize --documents paragraph` makes it a document.
set -euo pipefail

[ $# -eq 1 ] || { echo "usage: kjv_corpus.sh FILE" >&2; exit 2; }
command -v bible > /dev/null || {
  echo "kjv_corpus.sh: no command 'bible'; run scripts/install_packages.sh demo" >&2
  exit 1
}

mkdir -p "$(dirname "$1")"
bible -f 'gen1:1-rev22:21' | awk '
  {
    chapter = $1
    sub(/:.*/, "", chapter)
    if (chapter != before && NR > 1) print ""
    before = chapter
    sub(/^[^ ]+ /, "")
    print
  }' > "$1.tmp"

# The text is always the same; anything else means that bible or awk failed half-way.
verses=$(grep -c . "$1.tmp")
if [ "$verses" -ne 31102 ]; then
  echo "kjv_corpus.sh: got $verses verses, expected 31102; left in $1.tmp" >&2
  exit 1
fi
mv "$1.tmp" "$1"
