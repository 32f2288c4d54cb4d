'use strict';

// All text on the page is foreign: it only becomes a text node, or the value of an attribute that is
// neither script, style nor URL.

const { run, images, bands, critical } = JSON.parse(document.getElementById('data').textContent);

// Outcomes of images, worst first, each with a letter for readers who can't see the colours.
const KINDS = {
  failed: { letter: 'F', label: 'failed' },
  held: { letter: 'A', label: 'not built, because an ancestor failed' },
  interrupted: { letter: 'I', label: 'interrupted' },
  built: { letter: 'B', label: 'built' },
  skipped: { letter: 'S', label: 'skipped' },
  unchanged: { letter: 'U', label: 'unchanged' },
  unbuildable: { letter: 'X', label: 'unbuildable' },
  unmatched: { letter: 'N', label: 'not matched' },
};
const KIND_OF_STATUS = {
  error: 'failed',
  push_error: 'failed',
  connection_error: 'failed',
  parent_error: 'held',
  pending: 'interrupted',
  not_matched: 'unmatched',
};

images.forEach((image, index) => {
  image.index = index;
  image.kind = KIND_OF_STATUS[image.status] ?? image.status;
  image.children = [];
  image.marks = []; // The elements that represent it.
});
images.forEach((image) => image.needs.forEach((need) => images[need].children.push(image.index)));

const of = (...kinds) => images.filter((image) => kinds.includes(image.kind));
const byId = (id) => document.getElementById(id);

// ---- Elements ----

function fill(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined) node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

const element = (tag, attributes = {}, ...children) =>
  fill(document.createElement(tag), attributes, children);

const drawn = (tag, attributes = {}, ...children) =>
  fill(document.createElementNS('http://www.w3.org/2000/svg', tag), attributes, children);

function button(label, description, action) {
  const made = element('button', { type: 'button', 'aria-label': description, title: description }, label);
  made.addEventListener('click', action);
  return made;
}

const address = (image) => `#image/${encodeURIComponent(image.full_name)}`;
const link = (image) => element('a', { href: address(image) }, image.full_name);

const mark = (kind) => element('span', { class: `mark ${kind}`, 'aria-hidden': 'true' }, KINDS[kind].letter);

const named = (image) =>
  element('span', { class: 'named', title: KINDS[image.kind].label }, mark(image.kind), link(image));

const links = (found) =>
  element('ul', { class: 'links' }, found.map((image) => element('li', {}, named(image))));

// Lines of a text. The line number `marked` is highlighted; the first line is 1.
const text = (lines, { numbered = false, marked = 0, label } = {}) =>
  element('pre', { class: numbered ? 'text numbered' : 'text', tabindex: 0, role: 'group', 'aria-label': label },
    lines.map((line, at) => element('span', { class: at + 1 === marked ? 'at' : null }, line)));

function definitions(list, pairs) {
  for (const [term, value] of pairs) {
    if (value === null || value === undefined || value.length === 0) continue;
    list.append(element('div', {}, element('dt', {}, term), element('dd', {}, value)));
  }
  return list;
}

function show(id, ...children) {
  const section = byId(id);
  section.append(...children);
  section.hidden = false;
}

// ---- Formatting ----

const count = (number, word) => `${number} ${word}${number === 1 ? '' : 's'}`;

function clock(seconds) {
  const whole = Math.floor(seconds);
  const two = (number) => String(number).padStart(2, '0');
  if (whole >= 3600) return `${Math.floor(whole / 3600)}h ${two(Math.floor(whole / 60) % 60)}m`;
  if (whole >= 60) return `${Math.floor(whole / 60)}m ${two(whole % 60)}s`;
  return `${seconds.toFixed(1)}s`;
}

function size(bytes) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const unit = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  return `${(bytes / 1000 ** unit).toFixed(unit === 0 ? 0 : 1)} ${units[unit]}`;
}

const moment = (timestamp) => timestamp.replace('T', ' ').replace(/(\.\d+)?Z$/, ' UTC');

const place = (image) => image.place && `${image.place.template}:${image.place.template_line}`;

// Duration of its build, including failed attempts; null if it was not built.
const buildTime = (image) => (image.begin === null ? null : (image.built ?? image.end) - image.begin);

const pushTime = (image) => (image.push_slot === null ? null : image.end - image.built);

const difference = (image) =>
  image.expected === null || image.built === null ? null : buildTime(image) - image.expected;

// ---- Summary ----

function headline() {
  const built = of('built').length;
  const failed = of('failed', 'held').length;
  const asked = built + of('failed', 'held', 'interrupted').length;
  if (run.interrupted) return `Interrupted: ${built} of ${count(asked, 'image')} built`;
  if (failed > 0) return `${failed} of ${count(asked, 'image')} failed`;
  if (asked === 0) return 'No image to build';
  return asked === 1 ? 'The image is built' : `All ${asked} images are built`;
}

function drawSummary() {
  byId('headline').textContent = headline();
  document.title = `${headline()} – Kiln`;
  const expected = run.estimated_seconds === null ? '' : `, expected ${clock(run.estimated_seconds)}`;
  definitions(byId('facts'), [
    ['Started', moment(run.started)],
    ['Took', clock(run.seconds) + expected],
    ['Engine', run.engine],
    ['Threads', run.threads === 0 ? null : count(run.threads, 'build')],
  ]);
  const tiles = [
    ['failed', 'failed', of('failed', 'held', 'interrupted').length, '#failures', notes()],
    ['built', 'built', of('built').length, '#times', null],
    ['skipped', 'skipped', of('skipped').length, '#aside', null],
    ['unchanged', 'unchanged', of('unchanged').length, '#aside', null],
    ['unbuildable', 'unbuildable', of('unbuildable').length, '#aside', null],
    ['unmatched', 'not matched', of('unmatched').length, '#aside', null],
  ];
  byId('counts').append(...tiles.map(([kind, label, number, href, note]) =>
    element('a', { href, class: number === 0 ? 'unmatched none' : kind },
      element('strong', {}, String(number)), label, note && element('small', {}, note))));
  if (run.warnings.length > 0) {
    show('warnings', element('ul', {}, run.warnings.map((warning) => element('li', {}, warning))));
  }
}

// Number of images that are counted as failed only because an ancestor failed or the run was interrupted.
function notes() {
  const told = [[of('held').length, 'by an ancestor'], [of('interrupted').length, 'interrupted']];
  return told.filter(([number]) => number > 0).map(([number, what]) => `${number} ${what}`).join(', ') || null;
}

// ---- Failures ----

const TOLD_LINES = 12;

function failure(image) {
  const fallen = of('held').filter((other) => other.ancestor === image.index);
  const at = place(image);
  return element('article', { class: 'failure failed' },
    element('h3', {}, named(image)),
    element('p', { class: 'reason' }, `${image.status.replace('_', ' ')}: ${image.reason ?? ''}`),
    at && element('p', {}, 'at ', element('code', {}, at),
      `, line ${image.place.line} of the Dockerfile: `, element('code', {}, dockerfile(image)[image.place.line - 1] ?? '')),
    image.attempts > 1 ? element('p', {}, `${image.attempts} attempts`) : null,
    image.tail.length > 0
      ? text(image.tail.slice(-TOLD_LINES), { label: `The last lines of the log of ${image.full_name}` })
      : null,
    image.log && element('p', { class: 'hint' }, 'log: ', element('code', {}, image.log)),
    fallen.length > 0
      ? element('details', { open: fallen.length <= 12 ? '' : null },
        element('summary', {}, `${count(fallen.length, 'image')} not built because of this failure`), links(fallen))
      : null);
}

const dockerfile = (image) => (image.dockerfile ?? '').replace(/\n$/, '').split('\n');

function drawFailures() {
  const failed = of('failed').sort((one, other) => one.end - other.end);
  const interrupted = of('interrupted');
  if (failed.length > 0) show('failures', ...failed.map(failure));
  if (interrupted.length > 0) {
    show('failures', element('h3', {}, 'Interrupted'), links(interrupted));
  }
}

// ---- Graph ----

const ROW = 32;
const GAP = 46; // Between two waves.
const NEAR = 14; // Between two columns of a wave.
const TOP = 30;
const MARGIN = 14;
const NODE_HEIGHT = 24;

const shown = images.filter((image) => image.cell !== null);
const LONGEST = 34;
const nodeWidth = 42 + 7 * Math.min(LONGEST, Math.max(8, ...shown.map((image) => image.full_name.length)));
const graph = { width: 0, height: 0, scale: 1, svg: null };

// Left edge of every column, and the bands of the waves behind the columns.
function columns() {
  const lefts = [];
  const found = [];
  let x = MARGIN;
  for (const [wave, number] of bands) {
    const start = x;
    for (let column = 0; column < number; column += 1) {
      lefts.push(x);
      x += nodeWidth + NEAR;
    }
    found.push({ wave, x: start, width: x - NEAR - start });
    x += GAP - NEAR;
  }
  return { lefts, found, width: Math.max(0, x - GAP + MARGIN) };
}

function shortened(name) {
  if (name.length <= LONGEST) return name;
  const half = Math.floor((LONGEST - 1) / 2);
  return `${name.slice(0, half)}…${name.slice(-half)}`;
}

function node(image) {
  const isSquare = image.kind === 'failed' || image.kind === 'held';
  const described = `${image.full_name}: ${KINDS[image.kind].label}, wave ${image.wave}`;
  const made = drawn('a', {
    href: address(image), class: `node ${image.kind}`, transform: `translate(${image.x} ${image.y})`,
    tabindex: -1, 'aria-label': described, 'data-image': image.index,
  },
    drawn('title', {}, described),
    drawn('rect', { class: 'box', width: nodeWidth, height: NODE_HEIGHT, rx: 5 }),
    drawn('rect', { class: 'badge', x: 5, y: 4, width: 16, height: 16, rx: isSquare ? 2 : 8 }),
    drawn('text', { class: 'letter', x: 13, y: 15.5 }, KINDS[image.kind].letter),
    drawn('text', { class: 'name', x: 27, y: 16.5 }, shortened(image.full_name)));
  image.marks.push(made);
  return made;
}

function edge(parent, child) {
  const [x1, y1] = [parent.x + nodeWidth, parent.y + NODE_HEIGHT / 2];
  const [x2, y2] = [child.x, child.y + NODE_HEIGHT / 2];
  const bend = Math.min(60, Math.max(20, (x2 - x1) / 2));
  const at = critical.indexOf(child.index);
  const isCritical = at > 0 && critical[at - 1] === parent.index;
  const made = drawn('path', {
    class: isCritical ? 'edge critical' : 'edge',
    d: `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`,
  });
  parent.edges.push(made);
  child.edges.push(made);
  return made;
}

function drawGraph() {
  if (shown.length === 0) return;
  const { lefts, found, width } = columns();
  for (const image of shown) {
    image.x = lefts[image.cell[0]];
    image.y = TOP + image.cell[1] * ROW;
    image.edges = [];
  }
  graph.width = width;
  graph.height = Math.max(...shown.map((image) => image.y)) + ROW + 8;
  const edges = shown.flatMap((image) =>
    image.needs.map((need) => images[need]).filter((need) => need.cell !== null).map((need) => edge(need, image)));
  const inOrder = [...shown].sort((one, other) => one.cell[0] - other.cell[0] || one.cell[1] - other.cell[1]);
  graph.svg = drawn('svg', { viewBox: `0 0 ${graph.width} ${graph.height}` },
    found.map(({ x, width: wide }) =>
      drawn('rect', { class: 'band', x: x - 8, y: 2, width: wide + 16, height: graph.height - 4, rx: 8 })),
    found.map(({ wave, x }) => drawn('text', { class: 'wave', x, y: 19 }, `wave ${wave}`)),
    edges, inOrder.map(node));
  byId('legend').append(...Object.keys(KINDS)
    .filter((kind) => shown.some((image) => image.kind === kind))
    .map((kind) => element('li', {}, mark(kind), KINDS[kind].label)));
  show('graph');
  byId('graph-view').append(graph.svg);
  byId('graph-zoom').append(
    button('−', 'smaller', () => zoomGraph(graph.scale / 1.25)),
    button('fit', 'all of the graph', () => zoomGraph(fittingScale())),
    button('1:1', 'full size', () => zoomGraph(1)),
    button('+', 'larger', () => zoomGraph(graph.scale * 1.25)));
  zoomGraph(Math.max(0.6, Math.min(1, fittingScale())));
  byId('graph-view').scrollTo(0, 0);
  zoomByWheel(byId('graph-view'));
  panByPointer(byId('graph-view'));
  lightOnHover(graph.svg);
  moveByArrows(inOrder.map((image) => image.marks[0]), (at, key) => {
    const image = inOrder[at];
    const aside = { ArrowLeft: image.needs, ArrowRight: image.children }[key];
    if (aside === undefined) return at + (key === 'ArrowDown' ? 1 : -1);
    return inOrder.indexOf(aside.map((index) => images[index]).find((other) => other.cell !== null));
  });
}

function fittingScale() {
  const view = byId('graph-view');
  const height = Math.min(window.innerHeight * 0.78, 900);
  return Math.min(view.clientWidth / graph.width, height / graph.height);
}

// The centre of the visible part keeps its position.
function zoomGraph(scale) {
  const view = byId('graph-view');
  const [x, y] = [view.scrollLeft + view.clientWidth / 2, view.scrollTop + view.clientHeight / 2];
  const change = Math.min(3, Math.max(0.1, scale)) / graph.scale;
  graph.scale *= change;
  graph.svg.setAttribute('width', graph.width * graph.scale);
  graph.svg.setAttribute('height', graph.height * graph.scale);
  view.scrollTo(x * change - view.clientWidth / 2, y * change - view.clientHeight / 2);
}

function zoomByWheel(view) {
  view.addEventListener('wheel', (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoomGraph(graph.scale * Math.exp(-event.deltaY / 300));
  }, { passive: false });
}

function panByPointer(view) {
  let held = false;
  const hold = (is) => {
    held = is;
    view.classList.toggle('held-by-pointer', is);
  };
  view.addEventListener('pointerdown', (event) => {
    hold(event.pointerType === 'mouse' && event.button === 0 && event.target.closest('a') === null);
  });
  window.addEventListener('pointerup', () => hold(false));
  window.addEventListener('pointermove', (event) => {
    if (event.buttons === 0) hold(false); // Let go outside of the window.
    if (held) view.scrollBy(-event.movementX, -event.movementY);
  });
}

function light(image, is) {
  image.edges?.forEach((made) => {
    made.classList.toggle('lit', is);
    if (is) made.parentNode.insertBefore(made, graph.svg.querySelector('.node'));
  });
}

function lightOnHover(svg) {
  const at = (event) => images[event.target.closest('.node')?.dataset.image];
  for (const [event, is] of [['pointerover', true], ['focusin', true], ['pointerout', false], ['focusout', false]]) {
    svg.addEventListener(event, (told) => {
      const image = at(told);
      if (image !== undefined) light(image, is);
      if (opened !== null) light(opened, true); // Some of its edges may be the other's, too.
    });
  }
}

// Only one of these elements is a Tab stop; arrow keys move to the element that `next` returns.
function moveByArrows(elements, next) {
  elements[0]?.setAttribute('tabindex', 0);
  elements.forEach((made, at) => {
    made.addEventListener('keydown', (event) => {
      if (!event.key.startsWith('Arrow')) return;
      event.preventDefault();
      const other = elements[next(at, event.key)];
      if (other === undefined) return;
      made.setAttribute('tabindex', -1);
      other.setAttribute('tabindex', 0);
      other.focus();
    });
  });
}

// ---- Timeline ----

const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800, 86400];
const percent = (part) => `${(100 * part).toFixed(3)}%`;

function bar(image, from, to, total, title, classes) {
  // No image waits for a push, except at the end of the run.
  const isCritical = classes === 'push' ? image.index === critical.at(-1) : critical.includes(image.index);
  const made = element('a', {
    href: address(image), tabindex: -1, title,
    class: `bar ${image.kind} ${classes}${isCritical ? ' critical' : ''}`,
    'aria-label': title,
  }, image.full_name);
  made.style.left = percent(from / total);
  made.style.width = percent((to - from) / total);
  image.marks.push(made);
  return made;
}

const built = (image) => image.built ?? image.end;

function lane(title, bars) {
  return element('div', { class: 'lane' }, element('span', { class: 'title' }, title), bars);
}

// One lane for each slot, with its builds or pushes in order.
function lanes(title, slot, toBar) {
  const found = [];
  for (const image of images) {
    if (image[slot] !== null) (found[image[slot]] ??= []).push(image);
  }
  return found.map((those, at) =>
    lane(`${title} ${at + 1}`, those.sort((one, other) => one.begin - other.begin).map(toBar)));
}

function ticks(total) {
  const step = STEPS.find((step) => total / step <= 8) ?? total;
  const made = element('div', { class: 'ticks', 'aria-hidden': 'true' });
  for (let at = 0; at < total; at += step) {
    const tick = element('div', { class: 'tick' }, step < 1 ? `${at.toFixed(1)}s` : at === 0 ? '0' : clock(at).replace('.0s', 's'));
    tick.style.left = percent(at / total);
    made.append(tick);
  }
  return made;
}

// Time that an image of the critical path waited after its needs were ready.
function waited(image) {
  const before = images[critical[critical.indexOf(image.index) - 1]];
  return image.begin - (before === undefined ? 0 : built(before));
}

function drawCritical() {
  const parts = critical.map((index) => images[index]).flatMap((image, at) => [
    at === 0 ? '' : ' → ', link(image),
    ` ${clock(buildTime(image))}${waited(image) >= 0.05 ? ` after ${clock(waited(image))} of waiting` : ''}`]);
  byId('critical').append(element('b', {}, 'Critical path'), ': ', ...parts,
    critical.length > 1 ? '. Each needs the one before; the last ended last.' : ' ended last and waited for no other.');
}

function drawTimeline() {
  const hasRun = images.filter((image) => image.begin !== null);
  if (hasRun.length === 0) return;
  const total = Math.max(run.seconds, 0.001);
  const build = (image) => bar(image, image.begin, built(image), total,
    `${image.full_name}: ${KINDS[image.kind].label} in ${clock(buildTime(image))}, from ${clock(image.begin)} on`, '');
  const push = (image) => bar(image, image.built, image.end, total,
    `${image.full_name}: pushed in ${clock(pushTime(image))}`, 'push');
  const made = element('div', { class: 'lanes' }, ticks(total),
    lanes('build', 'slot', build), lanes('push', 'push_slot', push));
  drawCritical();
  show('timeline');
  byId('timeline-view').append(made);
  const bars = [...made.querySelectorAll('.bar')];
  let width = 100;
  const widen = (factor) => () => {
    width = Math.min(3200, Math.max(100, width * factor));
    made.style.width = `${width}%`;
    // A name is left out if only a letter or two would fit.
    bars.forEach((one) => one.classList.toggle('nameless', parseFloat(one.style.width) * width < 250));
  };
  widen(1)();
  byId('timeline-zoom').append(
    button('−', 'narrower', widen(0.5)), button('fit', 'as wide as the page', widen(0)), button('+', 'wider', widen(2)));
  const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
  moveByArrows(bars, (at, key) => at + steps[key]);
}

// ---- Slowest images ----

const COLUMNS = [
  ['Image', (image) => image.full_name, named],
  ['Build', buildTime, (image) => clock(buildTime(image))],
  ['Expected', (image) => image.expected, (image) => clock(image.expected)],
  ['Difference', difference, differenceTold],
  ['Push', pushTime, (image) => clock(pushTime(image))],
  ['Attempts', (image) => image.attempts, (image) => String(image.attempts)],
  ['Size', (image) => image.size ?? null, (image) => size(image.size)],
  ['Wave', (image) => image.wave, (image) => String(image.wave)],
];
const FIRST_ROWS = 15;

function differenceTold(image) {
  const seconds = difference(image);
  if (Math.abs(seconds) < 0.05) return '0.0s';
  return element('span', { class: seconds > 0 ? 'slower' : 'faster' },
    `${seconds > 0 ? '+' : '−'}${clock(Math.abs(seconds))}`);
}

const isNumber = (column) => column > 0;

function row(image) {
  const made = element('tr', {}, COLUMNS.map(([, value, told], column) =>
    element('td', { class: isNumber(column) ? 'number' : null }, value(image) === null ? '–' : told(image))));
  image.marks.push(made);
  return made;
}

function compare(one, other) {
  if (one === null || other === null) return (one === null) - (other === null);
  return typeof one === 'string' ? one.localeCompare(other) : one - other;
}

function drawTimes() {
  const hasRun = images.filter((image) => image.begin !== null);
  if (hasRun.length === 0) return;
  const rows = new Map(hasRun.map((image) => [image, row(image)]));
  const body = element('tbody');
  const heads = COLUMNS.map(([title], column) =>
    element('th', { scope: 'col', class: isNumber(column) ? 'number' : null }, button(title, `sort by ${title}`, () => sortBy(column))));
  let isWhole = hasRun.length <= FIRST_ROWS;
  let sorted = null;
  const sortBy = (column, keep = false) => {
    const falls = keep ? sorted.falls : sorted?.column === column ? !sorted.falls : isNumber(column);
    sorted = { column, falls };
    const value = COLUMNS[column][1];
    const order = [...hasRun].sort((one, other) => {
      const [first, second] = [value(one), value(other)];
      const isKnown = first !== null && second !== null;
      return falls && isKnown ? compare(second, first) : compare(first, second);
    });
    heads.forEach((head, at) => {
      if (at === column) head.setAttribute('aria-sort', falls ? 'descending' : 'ascending');
      else head.removeAttribute('aria-sort');
    });
    body.replaceChildren(...order.slice(0, isWhole ? order.length : FIRST_ROWS).map((image) => rows.get(image)));
  };
  sortBy(1);
  const table = element('table', {}, element('thead', {}, element('tr', {}, heads)), body);
  show('times', element('div', { class: 'scroll' }, table));
  if (isWhole) return;
  const more = button(`all ${hasRun.length}`, `show all ${hasRun.length}`, () => {
    isWhole = true;
    sortBy(sorted.column, true);
    more.remove();
  });
  more.className = 'more';
  byId('times').append(more);
}

// ---- Not built ----

function group(title, found, isOpen) {
  if (found.length === 0) return null;
  return element('details', { open: isOpen ? '' : null },
    element('summary', {}, `${title} (${found.length})`),
    element('ul', { class: 'rows' },
      found.map((image) => element('li', {}, named(image), element('span', {}, image.reason)))));
}

function drawAside() {
  const unbuildable = of('unbuildable');
  const groups = [
    group('Skipped', of('skipped'), true),
    group('Unchanged', of('unchanged'), true),
    group('Unbuildable', unbuildable.filter((image) => image.cell !== null), true),
    group('Unbuildable, not selected', unbuildable.filter((image) => image.cell === null), false),
    group('Not matched', of('unmatched'), false),
  ].filter((made) => made !== null);
  if (groups.length > 0) show('aside', ...groups);
  if (run.lists.length > 0) {
    show('lists', element('ul', { class: 'rows' }, run.lists.map(({ reference, digest }) =>
      element('li', {}, element('code', {}, reference), element('code', {}, digest)))));
  }
}

// ---- Panel ----

let opened = null;
let cameFrom = null;

function part(title, ...children) {
  return [element('h3', {}, title), ...children];
}

const code = (value) => value && element('code', {}, value);

function panelFacts(image) {
  const build = buildTime(image);
  const push = pushTime(image);
  const step = image.step && image.kind === 'failed' ? `${image.step[0]} of ${image.step[1]}` : null;
  const pushed = (image.pushed ?? []).map(({ reference, digest }) =>
    element('div', {}, code(reference), ' as ', code(digest)));
  return definitions(element('dl'), [
    ['Outcome', image.status.replace('_', ' ')],
    ['Failed at', code(place(image))],
    ['At step', step],
    ['Tag', code(image.reference)],
    ['Template', code(image.template)],
    ['Wave', String(image.wave)],
    ['Started', image.started && `${moment(image.started)}, ${clock(image.begin)} into the run`],
    ['Build', build === null ? null : clock(build)],
    ['Expected', image.expected === null ? null : clock(image.expected)],
    ['Push', push === null ? null : clock(push)],
    ['Attempts', image.attempts > 0 ? String(image.attempts) : null],
    ['Size', image.size ? size(image.size) : null],
    ['Id', code(image.id)],
    ['Pushed', pushed],
    ['Fingerprint', code(image.fingerprint)],
    ['Log', code(image.log)],
  ]);
}

function panelParts(image) {
  const at = (indices) => indices.map((index) => images[index]);
  const externals = image.externals ?? [];
  const labels = Object.entries(image.labels ?? {});
  return [
    image.needs.length + externals.length > 0
      ? part('Built on', links(at(image.needs)),
        element('ul', {}, externals.map((external) => element('li', {}, code(external), ' (external)'))))
      : [],
    image.children.length > 0 ? part('Needed by', links(at(image.children))) : [],
    image.retried.length > 0
      ? part('Failed attempts', element('ol', {}, image.retried.map((error) => element('li', {}, error))))
      : [],
    image.dockerfile
      ? part('Dockerfile', text(dockerfile(image),
        { numbered: true, marked: image.place?.line, label: `Dockerfile of ${image.full_name}` }))
      : [],
    image.tail.length > 0
      ? part('End of the log', text(image.tail, { label: `The last lines of the log of ${image.full_name}` }))
      : [],
    labels.length > 0
      ? part('Labels', definitions(element('dl'), labels.map(([name, value]) => [name, code(value)])))
      : [],
  ].flat();
}

function openPanel(image) {
  const title = element('h2', { id: 'panel-title', tabindex: -1 }, named(image));
  const close = button('✕', 'close', () => closePanel());
  byId('panel').replaceChildren(
    element('div', { class: 'head' }, title, close),
    ...(image.reason ? [element('p', { class: `reason ${image.kind}` }, image.reason)] : []),
    panelFacts(image), ...panelParts(image));
  byId('panel').hidden = false;
  byId('panel').scrollTop = 0;
  // The focus stays in the search field.
  if (document.activeElement !== byId('search')) {
    if (!byId('panel').contains(document.activeElement) && document.activeElement !== document.body) {
      cameFrom = document.activeElement;
    }
    title.focus({ preventScroll: true });
  }
}

function closePanel() {
  history.pushState(null, '', location.pathname + location.search);
  follow();
  if (document.activeElement !== byId('search')) cameFrom?.focus();
}

function select(image, is) {
  image.marks.forEach((made) => made.classList.toggle('selected', is));
  light(image, is);
}

// Scrolls the graph to the image.
function reveal(image) {
  if (image.cell === null) return;
  const view = byId('graph-view');
  const [x, y] = [image.x * graph.scale, image.y * graph.scale];
  const [wide, high] = [nodeWidth * graph.scale, NODE_HEIGHT * graph.scale];
  const isSeen = x >= view.scrollLeft && x + wide <= view.scrollLeft + view.clientWidth
    && y >= view.scrollTop && y + high <= view.scrollTop + view.clientHeight;
  if (!isSeen) view.scrollTo(x - (view.clientWidth - wide) / 2, y - (view.clientHeight - high) / 2);
}

// Shows the image in the address of the page.
function follow() {
  const image = images.find((image) => [address(image), `#image/${image.full_name}`].includes(location.hash));
  if (opened !== null) select(opened, false);
  opened = image ?? null;
  if (opened === null) {
    byId('panel').hidden = true;
    return;
  }
  openPanel(opened);
  select(opened, true);
  reveal(opened);
}

// ---- Search ----

let matches = [];

const haystack = (image) =>
  [image.full_name, KINDS[image.kind].label, image.status, image.reference, image.template, ...(image.externals ?? [])]
    .join('\n').toLowerCase();

function search(wanted) {
  const words = wanted.toLowerCase().split(/\s+/).filter((word) => word !== '');
  const isMatch = (image) => words.every((word) => image.haystack.includes(word));
  matches = words.length === 0 ? [] : images.filter(isMatch);
  const found = new Set(matches);
  for (const image of images) {
    const isDim = words.length > 0 && !found.has(image);
    image.marks.forEach((made) => made.classList.toggle('dim', isDim));
  }
  byId('found').textContent = words.length === 0 ? '' : `${matches.length} of ${images.length}`;
}

// Opens the next or the previous match.
function openMatch(step) {
  if (matches.length === 0) return;
  const at = matches.indexOf(opened);
  const next = at === -1 ? (step > 0 ? 0 : -1) : at + step;
  location.hash = address(matches[(next + matches.length) % matches.length]);
}

function listenToSearch() {
  images.forEach((image) => { image.haystack = haystack(image); });
  const field = byId('search');
  field.addEventListener('input', () => search(field.value));
  field.addEventListener('keydown', (event) => {
    if (event.key === 'Enter') openMatch(event.shiftKey ? -1 : 1);
  });
  search(field.value);
}

function listenToKeys() {
  document.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && opened !== null) {
      closePanel();
    } else if (event.key === '/' && document.activeElement !== byId('search')) {
      event.preventDefault();
      byId('search').select();
    }
  });
}

// Prints everything unfolded.
function unfoldForPrint() {
  window.addEventListener('beforeprint', () => {
    document.querySelectorAll('details').forEach((folded) => { folded.open = true; });
  });
}

drawSummary();
drawFailures();
drawGraph();
drawTimeline();
drawTimes();
drawAside();
listenToSearch();
listenToKeys();
unfoldForPrint();
window.addEventListener('hashchange', follow);
follow();
