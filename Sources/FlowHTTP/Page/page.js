// FlowHub's page: the list of flows and one flow, live over plain EventSource. No build step, no library.
//
// What a headless test can read (attributes of <body>, written once a frame):
//   data-view        list | flow
//   data-connection  connecting   no answer yet
//                    behind       open; history or a snapshot after a resync is still coming
//                    live         open and caught up
//                    reconnecting lost; the browser (or our back-off after a refusal) tries again
//                    stale        open but silent for 45 s; opened anew
//                    polling      list only: no stream to be had, GET /v1/flows instead
//                    unauthorized 401, the token field is shown
//                    finished     the flow ended and so did its stream, for good
//                    closed       ended by the hub or refused for another reason
//   data-delivery    ok | degraded | store_away      as the last heartbeat said
//   data-reconnects  how often the stream was opened again since this view was entered
//   data-resyncs, data-resync                        how many resyncs, and the reason of the last
//   data-closing     reason of the last `closing`
//   data-flow, data-version, data-status, data-progress (0..100), data-watching       the open flow; empty in the list
//   data-events      durable and transient events the stream brought for the open flow; in the list: changes seen
// #state-json        textContent = JSON.stringify(state) of the open flow, numbers as the hub wrote them
// #events > li       newest first: data-type, data-version (absent on transient events)
// #flows > li        data-flow-id, data-version, data-status
// #imports > li      newest first: data-import-id, data-kind = running | completed | failed, data-percent (empty if nobody knows)
// #try-result        data-kind = good | bad, data-status = HTTP status of the last request of the form
'use strict';

const LIMITS = {
  log: 500, eventText: 65_536, rows: 300, flows: 2_000, treeNodes: 1_500, types: 200, history: 100,
  silence: 45_000, connect: 120_000, backoff: 30_000, poll: 5_000, watchers: 15_000, details: 3_000, visible: 30,
  imports: 20, quiet: 30_000,
};
const TERMINAL = new Set(['completed', 'failed', 'cancelled', 'deleted']);
const KINDS = {
  running: 'running', active: 'running', processing: 'running', in_progress: 'running', started: 'running',
  paused: 'waiting', waiting: 'waiting', pending: 'waiting', queued: 'waiting', blocked: 'waiting',
  completed: 'completed', failed: 'failed', cancelled: 'ended', deleted: 'ended',
};
const IMPORT_TYPES = ['import_progress', 'import_stored', 'import_failed'];
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const ID = /^(?!\.{1,2}$)[A-Za-z0-9_.:-]{1,128}$/;
const HUB_TYPES = ['snapshot', 'resync', 'caught_up', 'heartbeat', 'closing', 'presence', 'state_update', 'flow_deleted', 'message'];

// ------------------------------ small things

const $ = (id) => document.getElementById(id);
const body = document.body;

function el(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// Writing an unchanged text still costs layout (and makes screen readers talk), so ask first.
const setText = (node, text) => { if (node.textContent !== String(text)) node.textContent = text; };

function setData(node, name, value) {
  const text = String(value ?? '');
  if (node.dataset[name] !== text) node.dataset[name] = text;
}

// Numbers beyond a double (ids, money) are kept as they were written, where the browser can do that.
const isRaw = (value) => typeof JSON.isRawJSON === 'function' && JSON.isRawJSON(value);

function parse(text) {
  if (typeof JSON.rawJSON !== 'function') return JSON.parse(text);
  return JSON.parse(text, (_, value, context) =>
    typeof value === 'number' && context.source !== String(value) ? JSON.rawJSON(context.source) : value);
}

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value) && !isRaw(value);
const number = (value) => Number(isRaw(value) ? value.rawJSON : typeof value === 'number' ? value : NaN);

// JSON Merge Patch, RFC 7396. defineProperty because `target["__proto__"] = x` would not make a member.
function mergePatch(target, patch) {
  if (!isObject(patch)) return patch;
  const result = isObject(target) ? target : {};
  for (const key of Object.keys(patch)) {
    if (patch[key] === null) { delete result[key]; continue; }
    const old = Object.hasOwn(result, key) ? result[key] : undefined;
    Object.defineProperty(result, key, { value: mergePatch(old, patch[key]), enumerable: true, configurable: true, writable: true });
  }
  return result;
}

function millis(stamp) {
  if (typeof stamp === 'number') return stamp < 1e12 ? stamp * 1000 : stamp;
  return Date.parse(stamp) || 0;
}

function ago(ms) {
  if (!ms) return '–';
  const seconds = Math.max(0, Math.round((Date.now() - ms) / 1000));
  if (seconds < 5) return 'just now';
  if (seconds < 60) return `${seconds} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)} h ago`;
  return new Date(ms).toLocaleDateString();
}

const clock = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });
const percentText = (percent) => percent === null ? '' : `${percent < 10 && percent % 1 ? percent.toFixed(1) : Math.floor(percent)} %`;
const short = (text, limit) => text.length > limit ? `${text.slice(0, limit)}… (${text.length.toLocaleString()} characters)` : text;

// How far it is: `progress`, `percent` or `done` (0..100), or `done` or `processed` of a `total`. `progress` may be 0..1, too,
// told apart per flow: whoever was above 1 once, counts in hundredths.
function progressIn(source, memory) {
  if (!isObject(source)) return null;
  if (isObject(source.progress)) return progressIn(source.progress, memory);
  const { progress, percent, done, processed, total } = source;
  let value = number(progress);
  if (value > 1) memory.hundred = true;
  if (!memory.hundred) value *= 100;
  const of = [number(done), number(processed)].find(Number.isFinite);
  const others = [number(percent), 100 * of / number(total), total === undefined ? number(done) : NaN];
  value = [value, ...others].find(Number.isFinite);
  return value === undefined ? null : Math.min(100, Math.max(0, value));
}

function stored(key, value) {
  try {
    if (value !== undefined) sessionStorage.setItem(key, value);
    return sessionStorage.getItem(key) || '';
  } catch { return memory[key] = value ?? memory[key] ?? ''; } // forbidden storage: it lasts as long as the page
}
const memory = {};

// ------------------------------ requests

// Never throws: status 0 is "no answer". Problems (RFC 9457) become {title, detail, code}.
async function api(method, path, content) {
  const headers = {};
  if (stored('flowhub.token')) headers.Authorization = `Bearer ${stored('flowhub.token')}`;
  if (content !== undefined) headers['Content-Type'] = 'application/json';
  try {
    const answer = await fetch(path, { method, headers, body: content, cache: 'no-store', signal: AbortSignal.timeout(20_000) });
    const text = await answer.text();
    let data = {};
    try { data = parse(text); } catch { /* not JSON: the status has to do */ }
    const { title = answer.statusText || 'Refused', detail = '', code = '' } = data;
    if (answer.status === 401) askForToken(detail);
    return { ok: answer.ok, status: answer.status, data, size: text.length, problem: { title, detail, code } };
  } catch (error) {
    return { ok: false, status: 0, data: {}, problem: { title: 'No answer', detail: String(error), code: '' } };
  }
}

// ------------------------------ connection

const FRESH = { phase: 'connecting', text: '', delivery: 'ok', reconnects: 0, resyncs: 0, resync: '', closing: '' };
const connection = { ...FRESH };
let stream = null; // the view's only stream: HTTP/1.1 allows a browser six connections to one host, over all tabs

function setPhase(phase, text = '') {
  connection.phase = phase;
  connection.text = text;
  draw();
}

// One EventSource and what it does not do by itself: notice silence, come back after a refusal, say why.
class Stream {
  constructor(path, query, types, probe, onEvent) {
    Object.assign(this, { path, query, probe, onEvent, types: new Set(types) });
    this.lastId = '';
    this.attempts = 0;
    this.opened = false;
    this.handle = (event) => { if (event.target === this.source) this.receive(event); };
  }

  open() {
    this.close();
    const query = new URLSearchParams(this.query);
    if (this.lastId) query.set('last_event_id', this.lastId); // a new object has no Last-Event-ID of its own
    if (stored('flowhub.token')) query.set('access_token', stored('flowhub.token'));
    const source = this.source = new EventSource(`${this.path}?${query}`);
    this.heard = Date.now();
    source.onopen = () => { if (source === this.source) this.isOpen(); };
    source.onerror = () => { if (source === this.source) this.lost(); };
    for (const type of this.types) source.addEventListener(type, this.handle);
  }

  close() {
    clearTimeout(this.timer);
    if (this.source) this.source.close();
    this.source = null;
  }

  // EventSource delivers only the types it was told of; adding one twice is harmless.
  listen(type) {
    if (this.types.has(type) || type === 'error' || type === 'open' || this.types.size >= LIMITS.types) return;
    this.types.add(type);
    if (this.source) this.source.addEventListener(type, this.handle);
  }

  isOpen() {
    this.heard = Date.now();
    if (this.opened) connection.reconnects += 1;
    this.opened = true;
    setPhase('behind', 'Catching up');
  }

  receive(event) {
    this.heard = Date.now();
    if (event.lastEventId) this.lastId = event.lastEventId;
    let data = event.data;
    try { data = parse(event.data); } catch { /* shown as the text it is */ }
    if (event.type === 'closing') return this.closing(data);
    this.attempts = 0; // only now: a full house, too, opens and says `closing`
    if (event.type === 'heartbeat') { connection.delivery = (data && data.delivery) || 'ok'; draw(); }
    this.onEvent(event.type, data, event.data, this.lastId);
  }

  closing(data) {
    const reason = connection.closing = String((data && data.reason) || 'unknown');
    if (data && data.reconnect === false) this.end(reason);
    else setPhase('reconnecting', `Hub closes (${reason}), will reconnect`);
  }

  // For good: without close() the browser would come back after every end of a response.
  end(reason) {
    this.close();
    if (reason === 'finished') return setPhase('finished', 'Finished: the stream has ended');
    setPhase('closed', `Closed: ${reason}`);
    if (reason === 'expired' || reason === 'revoked') askForToken(`The stream was ended: ${reason}.`);
  }

  lost() {
    this.attempts += 1;
    this.lastError = this.heard = Date.now();
    if (this.source.readyState === EventSource.CLOSED) return this.refused();
    setPhase('reconnecting', this.trying()); // the browser is at it, at the pace the hub set with `retry:`
  }

  trying() { return `Reconnecting, attempt ${this.attempts}, last error ${clock(this.lastError)}`; }

  // Not a 200: the browser gives up and does not tell the status, so ask the stream's JSON twin.
  async refused() {
    this.close();
    if (connection.phase !== 'polling') setPhase('reconnecting', this.trying());
    const verdict = await this.probe();
    if (stream !== this || this.source) return;
    if (verdict.phase) return setPhase(verdict.phase, verdict.text);
    const wait = Math.min(LIMITS.backoff, 1000 * 2 ** Math.min(this.attempts - 1, 5)) * (0.5 + Math.random() / 2);
    if (verdict.polling) setPhase('polling', 'No stream: polling');
    else setPhase('reconnecting', `Refused (${verdict.why}), attempt ${this.attempts}, again in ${Math.ceil(wait / 1000)} s`);
    this.timer = setTimeout(() => this.open(), wait);
  }

  // Once a second. A half-open connection shows no error: only the missing heartbeat tells.
  watch() {
    if (!this.source) return;
    const silent = Date.now() - this.heard;
    const limit = this.source.readyState === EventSource.OPEN ? LIMITS.silence : LIMITS.connect;
    if (silent < limit) return;
    this.attempts += 1;
    this.lastError = Date.now();
    setPhase('stale', `Silent for ${Math.round(silent / 1000)} s, opening anew`);
    this.open();
  }
}

// What a refusal means, by the answer of an ordinary GET.
function verdictOf(answer) {
  const { status, problem } = answer;
  if (status === 401) return { phase: 'unauthorized' };
  if (status === 400 || status === 403) return { phase: 'closed', text: `Refused: ${problem.detail || problem.title} (${status})` };
  return { why: answer.ok ? 'no stream' : status ? `${status} ${problem.code}`.trim() : 'no answer' };
}

function retryNow() {
  if (!stream) return;
  setPhase('connecting', 'Connecting');
  stream.open();
}

// ------------------------------ drawing, once a frame

let drawAsked = false;
const dirty = { list: false, log: false, logAll: false, tree: false, imports: false };

// A flood of events costs one drawing a frame. Hidden tabs get no frames, so there a timer does it.
function draw(...parts) {
  for (const part of parts) dirty[part] = true;
  if (drawAsked) return;
  drawAsked = true;
  askForFrame();
}

const askForFrame = () => document.hidden ? setTimeout(drawNow, 500) : requestAnimationFrame(drawNow);

function drawNow() {
  drawAsked = false;
  drawConnection();
  if (flow) drawFlow(); else drawList();
}

const PHASE_TEXT = { connecting: 'Connecting', live: 'Live', unauthorized: 'Token needed' };
const TONES = {
  live: 'good', finished: 'good', connecting: 'busy', behind: 'busy', reconnecting: 'warn', stale: 'warn', polling: 'warn',
  degraded: 'warn', store_away: 'bad', closed: 'bad', unauthorized: 'bad',
};

function drawConnection() {
  const { phase, delivery, reconnects } = connection;
  let text = connection.text || PHASE_TEXT[phase] || phase;
  if (phase === 'live' && delivery === 'degraded') text = 'Live, delivery degraded (slower)';
  if (phase === 'live' && delivery === 'store_away') text = 'Connected, store away: changes wait';
  setText($('connection-text'), text);
  setText($('reconnects'), reconnects ? `${reconnects} reconnect${reconnects === 1 ? '' : 's'}` : '');
  $('retry').hidden = ['live', 'connecting', 'behind'].includes(phase);
  setText($('retry'), phase === 'finished' ? 'Watch again' : 'Retry now');
  setData($('connection'), 'tone', phase === 'live' && delivery !== 'ok' ? TONES[delivery] : TONES[phase]);
  const { resyncs, resync, closing } = connection;
  const { id, version, status, percent, watching, count } = flow || { count: list.changes };
  const hooks = { view: flow ? 'flow' : 'list', connection: phase, delivery, reconnects, resyncs, resync, closing,
    flow: id, version, status, progress: percent, watching, events: count };
  for (const name in hooks) setData(body, name, hooks[name]);
}

function notice(text, kind = '') {
  setText($('notice'), text);
  setData($('notice'), 'kind', kind);
  $('notice').hidden = !text;
}

function drawBadge(badge, status) {
  setText(badge, status);
  setData(badge, 'kind', KINDS[status] || '');
}

// A <progress> without value would look busy for ever: a flow that tells no progress has no bar.
function drawBar(bar, percent, status) {
  bar.hidden = percent === null;
  if (percent !== null && bar.value !== percent) bar.value = percent;
  setData(bar, 'kind', KINDS[status] || '');
}

function drawTime(node, ms) {
  setText(node, ago(ms));
  if (ms && node.dataset.ms !== String(ms)) {
    node.dataset.ms = ms;
    node.dateTime = new Date(ms).toISOString();
    node.title = new Date(ms).toLocaleString();
  }
}

// ------------------------------ the list

const list = { flows: new Map(), changes: 0, loaded: false, next: null, extra: false, noWatchers: false };
const visible = new Set();
const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (entry.isIntersecting) visible.add(entry.target.dataset.flowId); else visible.delete(entry.target.dataset.flowId);
  }
});

function openList() {
  list.changes = 0;
  list.extra = false;
  stream = new Stream('v1/feed', {}, ['flows', 'flow', 'heartbeat', 'closing'], probeList, onFeed);
  stream.open();
  loadMore(true);
}

function onFeed(type, data) {
  if (type === 'flows') takePage(data.flows || [], !list.extra);
  else if (type === 'flow') { list.changes += 1; takeFlow(data); }
  if (connection.phase !== 'live') setPhase('live');
  draw('list');
}

// The first page stands for everything, unless the reader has loaded further pages by hand.
function takePage(flows, replaces) {
  if (replaces) {
    const kept = new Set(flows.map((item) => item.flow_id));
    for (const id of [...list.flows.keys()]) if (!kept.has(id)) dropFlow(id);
  }
  for (const item of flows) takeFlow(item, replaces);
  list.loaded = true;
}

function takeFlow(item, force = false) {
  if (!item || typeof item.flow_id !== 'string') return;
  const known = list.flows.get(item.flow_id) || { id: item.flow_id, percent: null, watching: null, updated: 0 };
  if (!force && item.version < known.version) return;
  known.version = item.version;
  known.status = item.status || '';
  known.updated = millis(item.updated_at) || known.updated;
  if (isObject(item.state)) known.percent = progressIn(item.state, known);
  list.flows.set(known.id, known);
  if (list.flows.size > LIMITS.flows) dropFlow(list.flows.keys().next().value);
}

function dropFlow(id) {
  const item = list.flows.get(id);
  if (item && item.li) { observer.unobserve(item.li); item.li.remove(); }
  visible.delete(id);
  list.flows.delete(id);
}

async function probeList() {
  const answer = await api('GET', 'v1/flows?limit=100');
  if (!answer.ok) return verdictOf(answer);
  takePage(answer.data.flows || [], !list.extra);
  draw('list');
  return { polling: true };
}

// With `onlyLook`, just learn whether there is more than the feed's first page. That one is of the newest changes, these are by
// id: they begin at the first id.
async function loadMore(onlyLook) {
  const after = list.extra && list.next ? `&after=${encodeURIComponent(list.next)}` : '';
  const answer = await api('GET', `v1/flows?limit=100${after}`);
  if (!answer.ok || flow) return;
  if (!onlyLook) list.extra = true;
  if (!list.loaded || !onlyLook) takePage(answer.data.flows || [], false);
  list.next = answer.data.next || null;
  draw('list');
}

function shownFlows() {
  const text = $('filter-text').value.trim().toLowerCase();
  const status = $('filter-status').value;
  return [...list.flows.values()]
    .filter((item) => item.id.toLowerCase().includes(text) && (!status || item.status === status))
    .sort((a, b) => b.updated - a.updated || (a.id < b.id ? -1 : 1));
}

function drawList() {
  if (!dirty.list) return;
  dirty.list = false;
  const shown = shownFlows();
  const rows = shown.slice(0, LIMITS.rows);
  addOptions($('filter-status'), shown);
  placeRows(rows);
  rows.forEach(drawRow);
  const total = list.flows.size;
  const of = rows.length < total ? `${rows.length} of ` : '';
  setText($('list-count'), list.loaded ? `${of}${total}${list.next ? '+' : ''} flow${total === 1 ? '' : 's'}` : '');
  $('list-empty').hidden = !list.loaded || shown.length > 0;
  setText($('list-empty'), total ? 'No flow matches the filter.' : 'No flows yet. Make one with the form below.');
  $('more').hidden = !list.next;
}

// A row must not slip away under the finger: while the pointer moves over the list, its order stands still.
let pointerMoved = 0;
function placeRows(rows) {
  const parent = $('flows');
  const held = Date.now() - pointerMoved < 2500 && rows.every((item) => item.li && item.li.parentNode);
  if (held) setTimeout(() => draw('list'), 2600);
  else {
    const focused = parent.contains(document.activeElement) ? document.activeElement : null;
    rows.forEach((item, index) => {
      item.li ||= makeRow(item);
      if (parent.children[index] !== item.li) parent.insertBefore(item.li, parent.children[index] || null);
    });
    if (focused && focused !== document.activeElement) focused.focus({ preventScroll: true });
  }
  const wanted = new Set(rows.map((item) => item.li));
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
}

function makeRow(item) {
  const li = el('li');
  const link = el('a', 'row');
  link.href = `#flow=${item.id}`;
  const bar = el('span', 'bar');
  const badge = el('span', 'badge'), progress = el('progress'), percent = el('span');
  const version = el('span', 'num'), watching = el('span', 'num'), updated = el('time', 'num');
  item.parts = { badge, progress, percent, version, watching, updated };
  progress.max = 100;
  progress.setAttribute('aria-label', 'Progress');
  version.dataset.label = 'version'; // said and shown where the columns have no heads
  watching.dataset.label = 'watching';
  bar.append(progress, percent);
  link.append(el('span', 'id', item.id), badge, bar, version, watching, updated);
  li.append(link);
  li.dataset.flowId = item.id;
  observer.observe(li);
  return li;
}

function drawRow(item) {
  if (!item.li) return;
  const { badge, progress, percent, version, watching, updated } = item.parts;
  drawBadge(badge, item.status);
  drawBar(progress, item.percent, item.status);
  setText(percent, percentText(item.percent));
  setText(version, item.version);
  setText(watching, item.watching ?? '–');
  drawTime(updated, item.updated);
  setData(item.li, 'version', item.version);
  setData(item.li, 'status', item.status);
}

// The choices of a select or datalist grow as new values are met.
function addOptions(parent, items, member = 'status') {
  const known = new Set([...parent.children].map((option) => option.value));
  for (const value of new Set(items.map((item) => item[member]))) {
    if (!known.has(value)) parent.append(new Option(value));
  }
}

// Who watches and how far it is are not in the feed. Ask for the rows on the screen, one request at a time.
async function lookCloser() {
  if (!flow && !document.hidden && list.loaded && connection.phase !== 'unauthorized') {
    for (const id of [...visible].slice(0, LIMITS.visible)) {
      const item = list.flows.get(id);
      if (!item || flow) continue;
      if (item.seenVersion !== item.version && !item.heavy && item.status !== 'deleted') await lookAtState(item);
      if (!list.noWatchers && Date.now() - (item.askedAt || 0) > LIMITS.watchers) await lookAtWatchers(item);
    }
  }
  setTimeout(lookCloser, LIMITS.details);
}

async function lookAtState(item) {
  const version = item.version;
  const answer = await api('GET', `v1/flows/${item.id}/state`);
  item.seenVersion = version;
  item.heavy = answer.size > LIMITS.eventText; // too dear to fetch at every change for a bar
  if (answer.ok) item.percent = progressIn(answer.data.state, item);
  draw('list');
}

async function lookAtWatchers(item) {
  item.askedAt = Date.now();
  const answer = await api('GET', `v1/flows/${item.id}/connections`);
  if (answer.ok && Array.isArray(answer.data.connections)) item.watching = answer.data.connections.length;
  if (answer.status === 403) list.noWatchers = true; // this token may not see them: do not ask again
  draw('list');
}

// Without a feed the list is asked for, until the next try of the stream succeeds.
setInterval(() => { if (!flow && connection.phase === 'polling' && !document.hidden) probeList(); }, LIMITS.poll);

// ------------------------------ one flow

let flow = null;

function openFlow(id) {
  const known = list.flows.get(id);
  flow = {
    id, version: null, status: '', fallback: '', state: {}, percent: null, hundred: false, watching: null, updated: known ? known.updated : 0,
    count: 0, log: [], waiting: [], accounted: null, missing: null, asking: false, askedAt: 0, seconds: new Array(60).fill(0),
    paused: false, held: 0, deleted: false, settled: false, imports: new Map(),
  };
  const types = [...HUB_TYPES, ...IMPORT_TYPES, 'progress', 'tick', 'log', ...learned()];
  stream = new Stream(`v1/flows/${id}/events`, { presence: '1' }, types, probeFlow, onFlowEvent);
  stream.open();
}

async function probeFlow() {
  const asked = flow;
  const answer = await api('GET', `v1/flows/${asked.id}/state`);
  if (asked.deleted || (answer.ok && TERMINAL.has(answer.data.status) && answer.data.version === asked.version)) {
    return { phase: 'finished', text: 'Finished: the stream has ended' }; // the 204 for a cursor at the end
  }
  return verdictOf(answer);
}

function onFlowEvent(type, data, text, lastId) {
  switch (type) {
  case 'snapshot': takeSnapshot(data); break;
  case 'resync': takeResync(data, text); break;
  case 'caught_up': setPhase('live'); break;
  case 'presence': flow.watching = data.count; break;
  case 'heartbeat': break;
  default: takeEvent(type, data, text);
  }
  // After a resync in mid-stream whatever follows the snapshot is live again.
  if (flow.settled && connection.phase === 'behind' && type !== 'snapshot' && type !== 'resync') setPhase('live');
  account(versionOf(lastId), type);
  draw();
}

// The cursor `<epoch>-<version>`; of a heartbeat, too, it tells how far the stream has come.
function versionOf(id) {
  const found = /-(\d+)$/.exec(id);
  return found ? Number(found[1]) : null;
}

function takeSnapshot(data) {
  const first = flow.version === null;
  Object.assign(flow, { version: data.version, state: isObject(data.state) ? data.state : {}, accounted: data.version, settled: !first });
  flow.fallback = typeof flow.state.status === 'string' ? '' : data.status || '';
  flow.status = data.status || statusOf();
  flow.deleted = flow.status === 'deleted';
  flow.percent = progressIn(flow.state, flow);
  for (const [type, event] of Object.entries(isObject(data.last) ? data.last : {})) {
    learn(type);
    takeTick(type, event && event.data);
    takeImport(type, event && event.data, millis(event && event.timestamp));
  }
  if (first && data.version > 0) missing(Math.max(1, data.version - 29), data.version); // what led here
  if (flow.deleted) notice('This flow was deleted.', 'bad');
  else if (data.version === 0) notice('This flow does not exist yet. The page waits for its first event.');
  else if (!connection.resync) notice('');
  draw('tree');
}

function takeResync(data, text) {
  connection.resyncs += 1;
  connection.resync = String(data.reason || 'unknown');
  flow.settled = false;
  flow.missing = null;
  log({ type: 'resync', text, order: (flow.version ?? 0) + 0.5, at: Date.now() });
  const range = data.from != null && data.to != null ? ` (versions ${data.from} to ${data.to} are not replayed)` : '';
  notice(`Resynced at ${clock(Date.now())}: ${connection.resync.replaceAll('_', ' ')}${range}. The state below is the hub's current one.`);
  setPhase('behind', `Resync: ${connection.resync}`);
}

function statusOf() {
  return typeof flow.state.status === 'string' ? flow.state.status : flow.fallback;
}

function takeEvent(type, data, text) {
  const known = isObject(data) ? data : {};
  const version = typeof known.version === 'number' ? known.version : null;
  if (version !== null && flow.version !== null && version <= flow.version) return; // already in the snapshot
  if (flow.version === 0 && version !== null && type !== 'flow_deleted') notice('');
  // A foreign update (no version) is not part of the hub's state: it is shown, not applied.
  if (type === 'state_update' && version !== null) applyUpdate(known);
  else if (type === 'flow_deleted') applyDeletion();
  else takeTick(type, known.data);
  takeImport(type, known.data, millis(known.timestamp) || Date.now());
  if (version !== null) flow.version = version;
  flow.updated = millis(known.timestamp) || Date.now();
  flow.count += 1;
  flow.seconds[flow.seconds.length - 1] += 1;
  log({ type: known.type || type, version, text, order: version ?? (flow.version ?? 0) + 0.5, at: millis(known.timestamp) || Date.now(), foreign: known.foreign === true });
}

// A tick's data may be the bare number.
function takeTick(type, data) {
  if (type !== 'progress' && type !== 'tick') return;
  flow.percent = progressIn(isObject(data) ? data : { progress: data }, flow) ?? flow.percent;
}

function applyUpdate(update) {
  flow.state = update.replace === true ? mergePatch({}, update.updates) : mergePatch(flow.state, update.updates);
  if (!isObject(flow.state)) flow.state = {};
  if (update.replace === true || (isObject(update.updates) && Object.hasOwn(update.updates, 'status'))) flow.fallback = '';
  flow.status = statusOf();
  const told = progressIn(update.updates, flow) !== null || update.replace === true;
  if (told || flow.percent === null || TERMINAL.has(flow.status)) flow.percent = progressIn(flow.state, flow) ?? flow.percent;
  if (flow.deleted) notice('');
  flow.deleted = false;
  draw('tree');
}

function applyDeletion() {
  Object.assign(flow, { state: {}, status: 'deleted', fallback: '', percent: null, deleted: true });
  notice('This flow was deleted.', 'bad');
  draw('tree');
}

// ------------------------------ what was not heard

// EventSource is silent about types nobody listens for, but its cursor moves on. A cursor ahead of what was seen is
// therefore a type we do not know: the history tells its name, and from then on it arrives by itself.
function account(version, type) {
  if (version === null || flow.accounted === null) return;
  const own = !['heartbeat', 'presence', 'caught_up', 'snapshot', 'resync'].includes(type) && version === flow.version;
  const last = own ? version - 1 : version;
  if (last > flow.accounted) { flow.count += last - flow.accounted; missing(flow.accounted + 1, last); }
  flow.accounted = Math.max(flow.accounted, version);
  flow.version = Math.max(flow.version, version);
}

function missing(from, to) {
  flow.missing = flow.missing ? [Math.min(from, flow.missing[0]), Math.max(to, flow.missing[1])] : [from, to];
  askHistory();
}

async function askHistory() {
  const asked = flow;
  if (!asked || asked.asking || !asked.missing || Date.now() - asked.askedAt < 2000) return; // the second's tick asks again
  const [from, to] = asked.missing;
  Object.assign(asked, { missing: null, asking: true, askedAt: Date.now() });
  const after = Math.max(from, to - LIMITS.history + 1) - 1;
  const answer = await api('GET', `v1/flows/${asked.id}/history?after=${after}&limit=${LIMITS.history}`);
  asked.asking = false;
  if (flow !== asked || !answer.ok) return;
  const have = new Set(asked.log.map((entry) => entry.version));
  const events = Array.isArray(answer.data) ? answer.data : answer.data.events || [];
  for (const event of events) if (event.version >= from && event.version <= to && !have.has(event.version)) insert(event);
  draw('logAll');
}

function insert(event) {
  learn(event.type);
  const at = millis(event.timestamp);
  takeImport(event.type, event.data, at);
  const entry = { type: event.type, version: event.version, text: JSON.stringify(event), order: event.version, at };
  const index = flow.log.findIndex((other) => other.order < entry.order);
  flow.log.splice(index < 0 ? flow.log.length : index, 0, trimmed(entry));
  flow.log.length = Math.min(flow.log.length, LIMITS.log);
  flow.updated = Math.max(flow.updated, at);
}

const learned = () => stored('flowhub.types').split(' ').filter(Boolean);

function learn(type) {
  if (typeof type !== 'string' || HUB_TYPES.includes(type) || !ID.test(type)) return;
  if (stream) stream.listen(type);
  const known = learned();
  if (!known.includes(type)) stored('flowhub.types', [...known, type].slice(-LIMITS.types / 2).join(' '));
}

// ------------------------------ the flow on the screen

function trimmed(entry) {
  entry.text = short(entry.text, LIMITS.eventText);
  return entry;
}

function log(entry) {
  flow.log.unshift(trimmed(entry));
  if (flow.log.length > LIMITS.log) flow.log.length = LIMITS.log;
  if (flow.paused) flow.held += 1; else flow.waiting.push(entry);
  if (flow.waiting.length > LIMITS.log) flow.waiting.shift();
  draw('log');
}

function drawFlow() {
  setText($('flow-title'), flow.id);
  drawBadge($('flow-status'), flow.status);
  drawBar($('flow-progress'), flow.percent, flow.status);
  setText($('flow-percent'), percentText(flow.percent));
  $('flow-progress').parentNode.hidden = flow.percent === null;
  setText($('flow-version'), flow.version ?? '–');
  setText($('flow-watching'), flow.watching ?? '–');
  setText($('flow-events'), flow.count.toLocaleString());
  drawTime($('flow-updated'), flow.updated);
  const title = [percentText(flow.percent), flow.id, 'FlowHub'].filter(Boolean).join(' · ');
  if (document.title !== title) document.title = title;
  if (dirty.tree) drawState();
  if (dirty.imports) drawImports();
  if (dirty.log || dirty.logAll) drawLog();
}

// A large state is drawn less often: ten times as long a pause as the drawing took.
let stateRestsUntil = 0;
function drawState() {
  const started = performance.now();
  if (started < stateRestsUntil) { setTimeout(() => draw('tree'), stateRestsUntil - started); return; }
  dirty.tree = false;
  $('state-json').textContent = JSON.stringify(flow.state);
  drawTree(flow.state);
  stateRestsUntil = performance.now() + Math.min(2000, 10 * (performance.now() - started));
}

function drawLog() {
  const parent = $('events');
  const wanted = $('type-filter').value.trim();
  const matches = (entry) => !wanted || entry.type === wanted;
  setText($('pause'), flow.paused ? `Resume${flow.held ? ` (${flow.held})` : ''}` : 'Pause');
  if (flow.paused && !dirty.logAll) { dirty.log = false; return; }
  if (dirty.logAll) parent.replaceChildren(...flow.log.filter(matches).map(makeEvent));
  else {
    parent.prepend(...flow.waiting.filter(matches).reverse().map(makeEvent));
    while (parent.children.length > LIMITS.log) parent.lastChild.remove();
  }
  flow.waiting = [];
  dirty.log = dirty.logAll = false;
  $('events-empty').hidden = parent.children.length > 0;
  setText($('events-note'), flow.log.length >= LIMITS.log ? `newest ${LIMITS.log}` : '');
  addOptions($('type-list'), flow.log, 'type');
}

function makeEvent(entry) {
  const li = el('li');
  li.dataset.type = entry.type;
  if (entry.version != null) li.dataset.version = entry.version;
  const details = el('details');
  const line = el('summary');
  const mark = entry.version != null ? `#${entry.version}` : entry.foreign ? 'foreign' : entry.type === 'resync' ? '' : 'live';
  line.append(el('span', 'v', mark), el('span', 't', entry.type), el('time', 'w', entry.at ? clock(entry.at) : ''), el('span', 'd', gist(entry.text)));
  details.append(line);
  details.addEventListener('toggle', () => { if (details.open && !details.querySelector('pre')) details.append(el('pre', '', pretty(entry.text))); });
  li.append(details);
  return li;
}

// The line shows what happened; the envelope around it is in the details.
function gist(text) {
  try {
    const { updates, data, reason } = parse(text);
    return JSON.stringify(updates ?? data ?? reason ?? '').slice(0, 300);
  } catch { return text.slice(0, 300); }
}

function pretty(text) {
  try { return JSON.stringify(parse(text), null, 2); } catch { return text; }
}

// Events of the last minute as a filled line, one point a second.
function drawPulse() {
  const top = Math.max(4, ...flow.seconds);
  const points = flow.seconds.map((count, index) => `L${(index * 120 / 59).toFixed(1)} ${(23 - 21 * count / top).toFixed(1)}`);
  $('pulse-path').setAttribute('d', `M0 24${points.join('')}L120 24Z`);
  flow.seconds.push(0);
  flow.seconds.shift();
}

// ------------------------------ imports

// An import's own events tell how far it is. They may come late, twice (a replay) and out of order (the latest progress comes with
// the snapshot, the ends with the history), so each says what it knows and its time decides. What is stored stays stored; what
// failed may be tried again under the same id.
function takeImport(type, data, at) {
  if (!IMPORT_TYPES.includes(type) || !isObject(data) || !UUID.test(data.import_id)) return;
  const item = flow.imports.get(data.import_id) || { id: data.import_id, kind: '', at: 0, since: at, name: '', data: {} };
  const kind = { import_progress: 'running', import_stored: 'completed', import_failed: 'failed' }[type];
  // A failure's time is that of a commit, which may have begun just before the last progress was told.
  const isOld = kind === 'running' ? at < item.at || (item.kind === 'failed' && at === item.at) : kind === 'failed' && at < item.at - 2000;
  if (item.kind === 'completed' || isOld) return;
  // The last progress of one that nobody is at any more, whose end is beyond the history that the page reads.
  if (kind === 'running' && !item.kind && at < Date.now() - 2 * LIMITS.quiet) return;
  if (kind !== 'running' && item.kind === 'running') setText($('imports-said'), `${nameOf(data, item)} ${kind === 'failed' ? 'failed' : 'is stored'}`);
  Object.assign(item, { kind, at, data, name: nameOf(data, item), heard: Date.now() });
  flow.imports.set(item.id, item);
  if (flow.imports.size > LIMITS.imports) dropImport([...flow.imports.values()].reduce((a, b) => b.since < a.since ? b : a));
  draw('imports');
}

const nameOf = (data, item) => typeof data.file_name === 'string' && data.file_name ? short(data.file_name, 200) : item.name || item.id.slice(0, 8);

function dropImport(item) {
  if (item.parts) item.parts.li.remove();
  flow.imports.delete(item.id);
}

function drawImports() {
  dirty.imports = false;
  const items = [...flow.imports.values()].sort((a, b) => b.since - a.since);
  $('imports-card').hidden = items.length === 0;
  items.forEach((item, index) => {
    item.parts ||= makeImport(item);
    const { li } = item.parts;
    if ($('imports').children[index] !== li) $('imports').insertBefore(li, $('imports').children[index] || null);
    drawImport(item);
  });
}

function makeImport(item) {
  const parts = { li: el('li'), file: el('bdi', 'file'), percent: el('span'), link: el('a', '', 'Download'), bar: el('progress'), note: el('span', 'note') };
  const { li, file, percent, link, bar, note } = parts;
  li.dataset.importId = item.id;
  bar.max = 100;
  for (const [name, value] of [['role', 'progressbar'], ['aria-valuemin', '0'], ['aria-valuemax', '100']]) bar.setAttribute(name, value);
  link.href = `v1/imports/${item.id}/download`;
  link.download = ''; // an error is then a failed download, and not a page in the place of this one
  link.addEventListener('click', downloadWithToken);
  const side = el('span', 'side');
  side.append(percent, link);
  li.append(file, side, bar, note);
  return parts;
}

// A link can send no header. The token is put into the address only when it is clicked, so that a copied link has none.
function downloadWithToken(event) {
  if (!stored('flowhub.token')) return;
  event.preventDefault();
  const link = el('a');
  link.href = `${event.currentTarget.getAttribute('href')}?access_token=${encodeURIComponent(stored('flowhub.token'))}`;
  link.download = '';
  link.click();
}

function drawImport(item) {
  const { li, file, percent, link, bar, note } = item.parts;
  const share = shareOf(item);
  setData(li, 'kind', item.kind);
  setData(li, 'percent', share);
  setText(file, item.name);
  setText(percent, percentText(share));
  percent.hidden = item.kind !== 'running';
  link.hidden = item.kind !== 'completed';
  setText(note, noteOf(item));
  note.title = note.textContent;
  setData(bar, 'kind', item.kind);
  if (share === null) { bar.removeAttribute('value'); bar.removeAttribute('aria-valuenow'); }
  else if (bar.value !== share || !bar.hasAttribute('value')) { bar.value = share; bar.setAttribute('aria-valuenow', Math.floor(share)); }
  bar.setAttribute('aria-valuetext', note.textContent);
  bar.setAttribute('aria-label', `Import of ${item.name}`);
}

// How far it is, of the request's bytes; null if it has no length. What failed stands where it stood.
function shareOf(item) {
  if (item.kind === 'completed') return 100;
  const [done, total] = [number(item.data.bytes), number(item.data.total_bytes)];
  if (done >= 0 && total > 0) item.share = Math.min(100, 100 * done / total);
  else if (item.kind === 'running') item.share = null;
  return item.share ?? (item.kind === 'failed' ? 0 : null);
}

function noteOf({ kind, data, heard }) {
  if (kind === 'failed') {
    const [code, reason] = [data.code, data.reason].map((text) => typeof text === 'string' ? short(text, 500) : '');
    return `failed: ${reason || 'no reason was told'}${code && ` (${code})`}`;
  }
  const of = (name) => number(data[name]);
  if (kind === 'completed') {
    const [records, packed, original] = ['total_records', 'size_bytes', 'original_size_bytes'].map(of);
    const count = recordsText(records);
    const sizes = original >= 0 && packed >= 0 ? `${bytesText(original)} ${packed === original ? '' : `packed to ${bytesText(packed)}`}`.trim() : '';
    return `stored${count || sizes ? `: ${[count, sizes].filter(Boolean).join(', ')}` : ''}`;
  }
  const silent = Date.now() - heard;
  const isLive = silent <= LIMITS.quiet;
  const [done, total, records, pace, rate] = ['bytes', 'total_bytes', 'records', 'bytes_per_second', 'records_per_second'].map(of);
  return [
    done >= 0 ? bytesText(done) + (total > 0 ? ` of ${bytesText(total)}` : '') : '',
    isLive ? '' : `no word for ${durationText(silent / 1000)}`,
    isLive && pace > 0 && total > done ? `${durationText((total - done) / pace)} left` : '',
    isLive && pace >= 0 ? `${bytesText(pace)}/s` : '',
    recordsText(records),
    isLive && rate >= 0 ? `${Math.round(rate).toLocaleString()} records/s` : '',
  ].filter(Boolean).join(' · ');
}

const recordsText = (count) => count >= 0 ? `${count.toLocaleString()} record${count === 1 ? '' : 's'}` : '';

// Decimal units, three figures at most.
function bytesText(count) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB', 'PB', 'EB'];
  let unit = 0;
  for (; count >= 999.5 && unit < units.length - 1; unit += 1) count /= 1000;
  return `${unit && count < 9.95 ? count.toFixed(1) : Math.round(count)} ${units[unit]}`;
}

function durationText(seconds) {
  const whole = Math.ceil(Math.min(seconds, 1e9));
  if (whole < 60) return `${whole} s`;
  return whole < 3600 ? `${Math.floor(whole / 60)} min ${whole % 60} s` : `${Math.floor(whole / 3600)} h ${Math.floor(whole / 60) % 60} min`;
}

// ------------------------------ the state as a tree

let tree = null; // kept between drawings, so that open branches stay open and changes can flash
let treeBudget = 0;

function drawTree(state) {
  treeBudget = LIMITS.treeNodes;
  const flashes = tree !== null;
  tree ??= { kids: new Map(), box: $('state-tree') };
  updateKids(tree, state, 0, flashes);
  setText($('state-note'), treeBudget < 0 ? `first ${LIMITS.treeNodes} members` : Object.keys(state).length ? '' : 'empty');
}

const kindOf = (value) => Array.isArray(value) ? 'array' : isObject(value) ? 'object' : 'leaf';

function updateKids(branch, value, depth, flashes) {
  const keys = Object.keys(value);
  const kept = new Set(keys);
  for (const [key, kid] of branch.kids) if (!kept.has(key)) { kid.node.remove(); branch.kids.delete(key); }
  for (const key of keys) {
    treeBudget -= 1;
    if (treeBudget < 0) return;
    const old = branch.kids.get(key);
    if (old && old.kind === kindOf(value[key])) { updateNode(old, value[key], depth + 1, flashes); continue; }
    const made = makeNode(key, value[key], depth + 1);
    if (old) old.node.replaceWith(made.node); else branch.box.append(made.node);
    branch.kids.set(key, made);
    if (flashes) flash(made.node);
  }
}

function makeNode(key, value, depth) {
  const kind = kindOf(value);
  if (kind === 'leaf') {
    const made = { kind, node: el('div'), text: el('span') };
    made.node.append(el('span', 'key', `${key}: `), made.text);
    updateNode(made, value, depth, false);
    return made;
  }
  const made = { kind, node: el('details'), kids: new Map(), box: el('div', 'kids'), size: el('span', 'key') };
  const line = el('summary');
  line.append(el('span', 'key', `${key} `), made.size);
  made.node.append(line, made.box);
  made.node.open = depth < 3 && Object.keys(value).length <= 30;
  updateNode(made, value, depth, false);
  return made;
}

function updateNode(made, value, depth, flashes) {
  if (made.kind !== 'leaf') {
    const size = Object.keys(value).length;
    setText(made.size, made.kind === 'array' ? `[${size}]` : `{${size}}`);
    return updateKids(made, value, depth, flashes);
  }
  const text = short(isRaw(value) ? value.rawJSON : JSON.stringify(value), 2000);
  if (made.text.textContent === text) return;
  made.text.textContent = text;
  made.text.className = typeof value === 'string' ? 'string' : typeof value === 'number' || isRaw(value) ? 'number' : 'literal';
  if (flashes) flash(made.node);
}

function flash(node) {
  if (node.classList.contains('flash')) return;
  node.classList.add('flash');
  setTimeout(() => node.classList.remove('flash'), 1600);
}

// ------------------------------ token and forms

function askForToken(why) {
  $('token-form').hidden = false;
  setText($('token-note'), why ? `${why} The token is kept for this tab only.` : 'Kept for this tab only (sessionStorage).');
}

function useToken(value) {
  stored('flowhub.token', value.trim());
  $('token').value = '';
  $('token-form').hidden = true;
  route();
}

async function send(form, method, path, content) {
  const button = form.querySelector('button');
  button.disabled = true;
  const answer = await api(method, path, content);
  button.disabled = false;
  const { ok, status, problem: { title, detail, code }, data } = answer;
  const good = data.version == null ? 'sent to those who are watching' : `version ${data.version}`;
  setData($('try-result'), 'kind', ok ? 'good' : 'bad');
  setData($('try-result'), 'status', status);
  setText($('try-head'), ok ? `${status}: ${good}` : `${status || ''} ${title} ${code && `(${code})`}`);
  setText($('try-detail'), ok ? '' : detail);
  setText($('try-body'), curl(method, path, content));
  $('try-result').hidden = false;
  return ok;
}

const quoted = (text) => `'${text.replaceAll("'", `'\\''`)}'`;
function curl(method, path, content) {
  const auth = stored('flowhub.token') ? ` -H "Authorization: Bearer $TOKEN"` : '';
  return `curl -X ${method} ${new URL(path, location.href)}${auth} -H 'Content-Type: application/json' -d ${quoted(content)}`;
}

// JSON is checked here as well, so that a slip of the keyboard is told where it is.
function jsonOf(field) {
  try { JSON.parse(field.value); field.setCustomValidity(''); return field.value; }
  catch (error) { field.setCustomValidity(error.message); field.reportValidity(); return null; }
}

async function sendState(event) {
  event.preventDefault();
  const { flow: id, method, body: text } = event.target.elements;
  const content = jsonOf(text);
  if (content !== null && await send(event.target, method.value, `v1/flows/${id.value}/state`, content)) reopened(id.value);
}

async function sendEvent(event) {
  event.preventDefault();
  const { flow: id, type, durable, body: text } = event.target.elements;
  const data = jsonOf(text);
  if (data === null) return;
  learn(type.value);
  const content = `{"type":${JSON.stringify(type.value)},"data":${data},"durable":${durable.checked}}`; // data as it was typed
  if (await send(event.target, 'POST', `v1/flows/${id.value}/events`, content)) reopened(id.value);
}

// Writing to a flow whose stream has ended may have opened it again: look.
function reopened(id) {
  if (flow && flow.id === id && !stream.source && ['finished', 'closed'].includes(connection.phase)) retryNow();
}

// ------------------------------ where we are

function route() {
  if (stream) stream.close();
  const found = /^#flow=(.*)$/.exec(location.hash);
  const id = found ? found[1].replaceAll('%3A', ':') : '';
  stream = flow = null;
  Object.assign(connection, FRESH);
  notice('');
  clearFlowView();
  const valid = ID.test(id);
  $('list-view').hidden = valid;
  $('flow-view').hidden = !valid;
  if (valid) openFlow(id); else openList();
  if (found && !valid) notice('That is not a flow id: 1 to 128 of A-Z a-z 0-9 _ . : -', 'bad');
  if (valid) for (const form of [$('state-form'), $('event-form')]) form.elements.flow.value = id;
  if (!valid) document.title = 'FlowHub';
  draw('list', 'tree');
}

function clearFlowView() {
  tree = null;
  stateRestsUntil = 0;
  for (const id of ['state-tree', 'events', 'type-list', 'imports']) $(id).replaceChildren();
  $('imports-card').hidden = true;
  setText($('imports-said'), '');
  $('state-json').textContent = '{}';
  $('type-filter').value = '';
  $('events-empty').hidden = false;
  $('pause').setAttribute('aria-pressed', 'false');
  setText($('pause'), 'Pause');
}

function everySecond() {
  if (stream) stream.watch();
  if (flow) { drawPulse(); askHistory(); draw('imports'); } else if (Date.now() % 5000 < 1000) draw('list');
}

const on = (id, type, act) => $(id).addEventListener(type, act);

function start() {
  addEventListener('hashchange', () => { route(); scrollTo(0, 0); });
  addEventListener('pagehide', () => { if (stream) stream.close(); });
  addEventListener('pageshow', (event) => { if (event.persisted) route(); });
  // A frame that was asked for just before the tab was hidden does not come.
  document.addEventListener('visibilitychange', () => { if (drawAsked) askForFrame(); });
  addEventListener('online', () => { if (stream && !stream.source && connection.phase === 'reconnecting') retryNow(); });
  on('retry', 'click', retryNow);
  on('filter-text', 'input', () => draw('list'));
  on('filter-status', 'change', () => draw('list'));
  on('filter-form', 'submit', (event) => {
    event.preventDefault();
    const shown = shownFlows();
    const id = shown.length === 1 ? shown[0].id : $('filter-text').value.trim();
    if (ID.test(id)) location.hash = `flow=${id}`;
  });
  on('more', 'click', () => loadMore(false));
  on('flows', 'pointermove', () => { pointerMoved = Date.now(); });
  on('flows', 'pointerleave', () => { pointerMoved = 0; draw('list'); });
  on('type-filter', 'change', () => { learn($('type-filter').value.trim()); draw('logAll'); });
  on('pause', 'click', () => {
    flow.paused = !flow.paused;
    flow.held = 0;
    $('pause').setAttribute('aria-pressed', String(flow.paused));
    draw('logAll');
  });
  on('clear', 'click', () => { flow.log = []; flow.waiting = []; draw('logAll'); });
  on('token-toggle', 'click', () => {
    $('token-form').hidden = !$('token-form').hidden;
    if (!$('token-form').hidden) $('token').focus();
  });
  on('token-form', 'submit', (event) => { event.preventDefault(); useToken($('token').value); });
  on('token-clear', 'click', () => useToken(''));
  on('state-form', 'submit', sendState);
  on('event-form', 'submit', sendEvent);
  for (const field of document.querySelectorAll('#try textarea')) field.addEventListener('input', () => field.setCustomValidity(''));
  setInterval(everySecond, 1000);
  setTimeout(lookCloser, 700);
  route();
}

start();
