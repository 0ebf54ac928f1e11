#!/usr/bin/env bash
# Instructions for each packet on its way into the flow table, and for each flow on its way out as IPFIX, counted by
# valgrind (callgrind): they are the same on a busy machine as on an idle one. Fails where one has grown by more than 5 %
# over the figure in benches/instructions.tsv; `benches/instructions.sh --keep` writes the figures there.
set -eu
cd "$(dirname "$0")/.."
kept=benches/instructions.tsv
command -v valgrind >/dev/null || { echo "benches/instructions.sh: install Debian's package valgrind first" >&2; exit 1; }

program=$(cargo bench --quiet --locked --bench instructions --no-run --message-format=json |
  sed -n 's/.*"executable":"\([^"]*instructions-[^"]*\)".*/\1/p')
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT
"$program" >"$counts"
count() { # NAME FUNCTION DIVISOR
  total=$(valgrind --tool=callgrind --callgrind-out-file=/dev/null --toggle-collect="*$2*" "$program" 2>&1 >/dev/null |
    sed -n 's/.*Collected : //p')
  printf '%s\t%s\n' "$1" "$((total / $3))"
}
read -r packets _ flows _ <"$counts"
new=$(count "packet counted" take_packets "$packets"; count "flow exported" export_flows "$flows")

if [ "${1:-}" = --keep ]; then
  printf '# instructions, by benches/instructions.sh with %s\n%s\n' "$(rustc --version)" "$new" >$kept
fi
status=0
while IFS=$'\t' read -r name instructions; do
  before=$(sed -n "s/^$name\t//p" $kept)
  verdict=ok
  if [ "$((instructions * 100))" -gt "$((before * 105))" ]; then
    verdict="more than 5 % above the $before that are kept"
    status=1
  fi
  printf '%-16s %6s instructions: %s\n' "$name" "$instructions" "$verdict"
done <<<"$new"
exit $status
