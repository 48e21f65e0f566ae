#include "train/logging/report/page_style.h"

namespace plinth {

const std::string_view kPageStyle = R"css(
:root {
  color-scheme: light dark;
  --page: #f6f6f4; --card: #ffffff; --ink: #1c1d1f; --soft: #6a6d73; --rule: #e4e4e0; --grid: #ededea;
  --blue: #2962d9; --orange: #d9620f; --green: #1f8a5b; --violet: #7a4fd0; --teal: #0f8594;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #131416; --card: #1c1d20; --ink: #ececea; --soft: #989ba1; --rule: #2d2f33; --grid: #292b2f;
    --blue: #7aa7ff; --orange: #ff9f5a; --green: #5fd39d; --violet: #b79bff; --teal: #58c7d4;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif;
}
main { max-width: 1060px; margin: 0 auto; padding: 48px 24px 64px; }
header { margin-bottom: 28px; }
h1 { margin: 0; font-size: 30px; line-height: 1.2; font-weight: 650; letter-spacing: -0.02em; }
h2 { margin: 0; font-size: 16px; font-weight: 620; letter-spacing: -0.005em; }
h3 { margin: 0 0 6px; font-size: 13px; font-weight: 600; color: var(--soft); }
.subtitle { margin: 6px 0 0; color: var(--soft); font-size: 16px; }
.card { padding: 20px 22px; background: var(--card); border: 1px solid var(--rule); border-radius: 12px; }
section { margin-top: 20px; }

.summary { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); padding: 0; overflow: hidden; }
.summary div { padding: 16px 20px; box-shadow: 1px 1px 0 0 var(--rule); }
.summary dt { color: var(--soft); font-size: 13px; }
.summary dd { margin: 2px 0 0; font-size: 21px; font-weight: 600; letter-spacing: -0.01em;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }

.plots { display: grid; gap: 20px; margin-top: 20px; }
.plots section { margin: 0; }
.of-2 { grid-template-columns: repeat(2, minmax(0, 1fr)); }
.of-3 { grid-template-columns: repeat(3, minmax(0, 1fr)); }
.head { display: flex; flex-wrap: wrap; align-items: baseline; gap: 6px 20px; margin-bottom: 10px; }
.head h2 { margin-right: auto; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 0; padding: 0; list-style: none; font-size: 13px;
  color: var(--soft); font-variant-numeric: tabular-nums; }
.legend b { color: var(--ink); font-weight: 600; }
.legend i { display: inline-block; width: 16px; height: 3px; border-radius: 2px; margin-right: 7px;
  vertical-align: middle; background: currentColor; }
svg { display: block; width: 100%; height: auto; overflow: visible; }
.grid { stroke: var(--grid); }
.mark { stroke: var(--soft); stroke-opacity: 0.55; }
.tick, .label { fill: var(--soft); font-size: 12px; font-variant-numeric: tabular-nums; }
.end { text-anchor: end; } .middle { text-anchor: middle; }
.curve path { fill: none; stroke: currentColor; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.curve circle { fill: var(--card); stroke: currentColor; stroke-width: 2; }
.curve.faint path { stroke-width: 1; stroke-opacity: 0.3; }
.blue { color: var(--blue); } .orange { color: var(--orange); } .green { color: var(--green); }
.violet { color: var(--violet); } .teal { color: var(--teal); }

.loss { display: flex; flex-wrap: wrap; align-items: baseline; row-gap: 8px; }
.loss h2 { margin-right: 18px; }
.loss .legend { margin-left: auto; }
.loss input { position: absolute; opacity: 0; pointer-events: none; }
.loss label { font-size: 13px; color: var(--soft); padding: 1px 10px; border: 1px solid var(--rule);
  cursor: pointer; user-select: none; }
.loss label[for="linear"] { border-radius: 7px 0 0 7px; }
.loss label[for="logarithmic"] { border-radius: 0 7px 7px 0; margin-left: -1px; }
.loss input:checked + label { background: var(--page); color: var(--ink); }
.loss input:focus-visible + label { outline: 2px solid var(--blue); }
.view { display: none; flex: 1 0 100%; margin-top: 6px; overflow-x: auto; }
#linear:checked ~ .linear, #logarithmic:checked ~ .logarithmic { display: block; }
.view svg { min-width: 680px; }

.samples { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 360px), 1fr)); gap: 16px 28px; margin-top: 14px; }
.sample p { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 15px/1.65 Charter, "Bitstream Charter", Georgia, Cambria, "Times New Roman", serif; }
.sample .prompt { color: var(--soft); }
.sample + .sample { border-left: 1px solid var(--rule); padding-left: 28px; }
details { margin-top: 18px; border-top: 1px solid var(--rule); padding-top: 12px; }
summary { cursor: pointer; color: var(--soft); font-size: 14px; }
details .sample { margin-top: 14px; border-left: 0; padding-left: 0; }

.config { columns: 2 400px; column-gap: 36px; margin-top: 14px; }
.config table { width: 100%; border-collapse: collapse; break-inside: avoid; margin-bottom: 18px; font-size: 13.5px; }
.config caption { text-align: left; font-weight: 600; color: var(--soft); padding-bottom: 4px; font-size: 13px; }
.config th, .config td { padding: 4px 0; border-top: 1px solid var(--rule); vertical-align: top; }
.config th { text-align: left; font-weight: 400; color: var(--soft); padding-right: 18px; white-space: nowrap; }
.config td { text-align: right; overflow-wrap: anywhere;
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: 12.5px; }
footer { margin-top: 28px; color: var(--soft); font-size: 13px; text-align: center; }

@media (max-width: 900px) {
  .plots { grid-template-columns: 1fr; }
  .plots svg { max-width: 460px; margin: 0 auto; }
}
@media (max-width: 780px) {
  main { padding: 28px 14px 40px; }
  .card:not(.summary) { padding: 16px; }
  .sample + .sample { border-left: 0; padding-left: 0; border-top: 1px solid var(--rule); padding-top: 14px; }
}
@media print {
  body { background: none; }
  main { padding: 0; }
  .card { break-inside: avoid; border-color: #ccc; }
}
)css";

}  // namespace plinth
