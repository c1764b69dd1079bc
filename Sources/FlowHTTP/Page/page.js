// FlowHub's web UI: the list of flows, and one flow, live over plain EventSource. No build step, no library.
//
// Attributes of <body> for tests (written at most once per frame):
//   data-view        list | flow
//   data-connection  connecting   no response yet
//                    behind       open; replay, or a snapshot after a resync, is in progress
//                    live         open and caught up
//                    reconnecting lost; the browser (or the backoff below, after a rejection) retries
//                    stale        open but silent for 45 s; reconnecting
//                    polling      list only: no stream available, GET /v1/flows instead
//                    unauthorized 401; the token form is shown
//                    finished     the flow has ended, and so has its stream, permanently
//                    closed       ended by the hub, or rejected for another reason
//   data-delivery    ok | degraded | store_away      from the last heartbeat
//   data-reconnects  number of reconnects since this view was opened
//   data-resyncs, data-resync                        number of resyncs, and the reason of the last one
//   data-closing     reason of the last `closing`
//   data-flow, data-version, data-status, data-progress (0..100), data-watching       the open flow; empty in the list
//   data-events      durable and transient events received for the open flow; in the list: changes received
// #state-json        textContent = JSON.stringify(state) of the open flow, numbers as the hub wrote them
// #events > li       newest first: data-type, data-version (absent on transient events)
// #flows > li        data-flow-id, data-version, data-status
// #imports > li      newest first: data-import-id, data-kind = running | completed | failed, data-percent (empty if unknown)
// #try-result        data-kind = good | bad, data-status = HTTP status of the form's last request
'use strict';

const LIMITS = {
  log: 500, eventText: 65_536, rows: 300, flows: 2_000, treeNodes: 1_500, types: 200, history: 100,
  silence: 45_000, connect: 120_000, backoff: 30_000, poll: 5_000, watchers: 15_000, details: 3_000, visible: 30,
  imports: 20, importSilence: 30_000,
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

// ------------------------------ helpers

const $ = (id) => document.getElementById(id);
const body = document.body;

function el(tag, className, text) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

// Writing an unchanged text still costs layout, and makes screen readers speak.
const setText = (node, text) => { if (node.textContent !== String(text)) node.textContent = text; };

function setData(node, name, value) {
  const text = String(value ?? '');
  if (node.dataset[name] !== text) node.dataset[name] = text;
}

// If the browser supports it, numbers that a double cannot hold (ids, money) keep their text.
const isRaw = (value) => typeof JSON.isRawJSON === 'function' && JSON.isRawJSON(value);

function parse(text) {
  if (typeof JSON.rawJSON !== 'function') return JSON.parse(text);
  return JSON.parse(text, (_, value, context) =>
    typeof value === 'number' && context.source !== String(value) ? JSON.rawJSON(context.source) : value);
}

const isObject = (value) => value !== null && typeof value === 'object' && !Array.isArray(value) && !isRaw(value);
const number = (value) => Number(isRaw(value) ? value.rawJSON : typeof value === 'number' ? value : NaN);

// JSON Merge Patch (RFC 7396). defineProperty, because `target["__proto__"] = x` would not create a member.
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

const clockTime = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });
const percentText = (percent) => percent === null ? '' : `${percent < 10 && percent % 1 ? percent.toFixed(1) : Math.floor(percent)} %`;
const truncate = (text, limit) => text.length > limit ? `${text.slice(0, limit)}… (${text.length.toLocaleString()} characters)` : text;

// The progress in percent: `progress`, `percent` or `done` (0..100), or `done` or `processed` of a `total`. `progress` may also be
// 0..1: it counts as a fraction until the flow has sent a value above 1.
// Returns null if there is none.
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

function sessionValue(key, value) {
  try {
    if (value !== undefined) sessionStorage.setItem(key, value);
    return sessionStorage.getItem(key) || '';
  } catch { return memory[key] = value ?? memory[key] ?? ''; } // storage is forbidden: the value lasts as long as the page
}
const memory = {};

// ------------------------------ requests

// Never throws: status 0 means no response. Problems (RFC 9457) become {title, detail, code}.
async function api(method, path, content) {
  const headers = {};
  if (sessionValue('flowhub.token')) headers.Authorization = `Bearer ${sessionValue('flowhub.token')}`;
  if (content !== undefined) headers['Content-Type'] = 'application/json';
  try {
    const response = await fetch(path, { method, headers, body: content, cache: 'no-store', signal: AbortSignal.timeout(20_000) });
    const text = await response.text();
    let data = {};
    try { data = parse(text); } catch { /* not JSON: only the status is used */ }
    const { title = response.statusText || 'Error', detail = '', code = '' } = data;
    if (response.status === 401) showTokenForm(detail);
    return { ok: response.ok, status: response.status, data, size: text.length, problem: { title, detail, code } };
  } catch (error) {
    return { ok: false, status: 0, data: {}, problem: { title: 'No response', detail: String(error), code: '' } };
  }
}

// ------------------------------ connection

const INITIAL_CONNECTION = { phase: 'connecting', text: '', delivery: 'ok', reconnects: 0, resyncs: 0, resync: '', closing: '' };
const connection = { ...INITIAL_CONNECTION };
let stream = null; // the view's only stream: over HTTP/1.1 a browser opens six connections per host, over all tabs

function setPhase(phase, text = '') {
  connection.phase = phase;
  connection.text = text;
  draw();
}

// An EventSource, plus what it lacks: detection of silence, reconnects after a rejection, and the reason of a failure.
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
    if (this.lastId) query.set('last_event_id', this.lastId); // a new EventSource sends no Last-Event-ID
    if (sessionValue('flowhub.token')) query.set('access_token', sessionValue('flowhub.token'));
    const source = this.source = new EventSource(`${this.path}?${query}`);
    this.receivedAt = Date.now();
    source.onopen = () => { if (source === this.source) this.connectionOpened(); };
    source.onerror = () => { if (source === this.source) this.connectionLost(); };
    for (const type of this.types) source.addEventListener(type, this.handle);
  }

  close() {
    clearTimeout(this.timer);
    if (this.source) this.source.close();
    this.source = null;
  }

  // EventSource dispatches only types with a listener; adding the same listener twice has no effect.
  listen(type) {
    if (this.types.has(type) || type === 'error' || type === 'open' || this.types.size >= LIMITS.types) return;
    this.types.add(type);
    if (this.source) this.source.addEventListener(type, this.handle);
  }

  connectionOpened() {
    this.receivedAt = Date.now();
    if (this.opened) connection.reconnects += 1;
    this.opened = true;
    setPhase('behind', 'Catching up');
  }

  receive(event) {
    this.receivedAt = Date.now();
    if (event.lastEventId) this.lastId = event.lastEventId;
    let data = event.data;
    try { data = parse(event.data); } catch { /* shown as text */ }
    if (event.type === 'closing') return this.closing(data);
    this.attempts = 0; // only now: a hub at its limit also opens the stream, and sends only `closing`
    if (event.type === 'heartbeat') { connection.delivery = (data && data.delivery) || 'ok'; draw(); }
    this.onEvent(event.type, data, event.data, this.lastId);
  }

  closing(data) {
    const reason = connection.closing = String((data && data.reason) || 'unknown');
    if (data && data.reconnect === false) this.end(reason);
    else setPhase('reconnecting', `Closed by the hub (${reason}); reconnecting`);
  }

  // Permanently: without close() the browser reconnects after every end of a response.
  end(reason) {
    this.close();
    if (reason === 'finished') return setPhase('finished', 'Finished: the stream has ended');
    setPhase('closed', `Closed: ${reason}`);
    if (reason === 'expired' || reason === 'revoked') showTokenForm(`The stream ended: ${reason}.`);
  }

  connectionLost() {
    this.attempts += 1;
    this.lastError = this.receivedAt = Date.now();
    if (this.source.readyState === EventSource.CLOSED) return this.rejected();
    setPhase('reconnecting', this.reconnectText()); // the browser reconnects after the delay that the hub set with `retry:`
  }

  reconnectText() { return `Reconnecting, attempt ${this.attempts}, last error ${clockTime(this.lastError)}`; }

  // Not a 200: the browser stops and does not report the status, so send the GET that corresponds to the stream.
  async rejected() {
    this.close();
    if (connection.phase !== 'polling') setPhase('reconnecting', this.reconnectText());
    const outcome = await this.probe();
    if (stream !== this || this.source) return;
    if (outcome.phase) return setPhase(outcome.phase, outcome.text);
    const wait = Math.min(LIMITS.backoff, 1000 * 2 ** Math.min(this.attempts - 1, 5)) * (0.5 + Math.random() / 2);
    if (outcome.polling) setPhase('polling', 'No stream; polling');
    else setPhase('reconnecting', `Cannot connect (${outcome.why}), attempt ${this.attempts}, retry in ${Math.ceil(wait / 1000)} s`);
    this.timer = setTimeout(() => this.open(), wait);
  }

  // Once per second. A half-open connection raises no error: only the missing heartbeat shows it.
  checkSilence() {
    if (!this.source) return;
    const silent = Date.now() - this.receivedAt;
    const limit = this.source.readyState === EventSource.OPEN ? LIMITS.silence : LIMITS.connect;
    if (silent < limit) return;
    this.attempts += 1;
    this.lastError = Date.now();
    setPhase('stale', `No data for ${Math.round(silent / 1000)} s; reconnecting`);
    this.open();
  }
}

// The reason of a rejection, from the response to an ordinary GET.
function outcomeOf(response) {
  const { status, problem } = response;
  if (status === 401) return { phase: 'unauthorized' };
  if (status === 400 || status === 403) return { phase: 'closed', text: `Rejected: ${problem.detail || problem.title} (${status})` };
  return { why: response.ok ? 'no stream' : status ? `${status} ${problem.code}`.trim() : 'no response' };
}

function retryNow() {
  if (!stream) return;
  setPhase('connecting', 'Connecting');
  stream.open();
}

// ------------------------------ drawing, once per frame

let drawScheduled = false;
const dirty = { list: false, log: false, logAll: false, tree: false, imports: false };

// Many events cost one drawing per frame. Hidden tabs get no frames, so a timer draws there.
function draw(...parts) {
  for (const part of parts) dirty[part] = true;
  if (drawScheduled) return;
  drawScheduled = true;
  requestFrame();
}

const requestFrame = () => document.hidden ? setTimeout(drawNow, 500) : requestAnimationFrame(drawNow);

function drawNow() {
  drawScheduled = false;
  drawConnection();
  if (flow) drawFlow(); else drawList();
}

const PHASE_TEXT = { connecting: 'Connecting', live: 'Live', unauthorized: 'Token required' };
const TONES = {
  live: 'good', finished: 'good', connecting: 'busy', behind: 'busy', reconnecting: 'warn', stale: 'warn', polling: 'warn',
  degraded: 'warn', store_away: 'bad', closed: 'bad', unauthorized: 'bad',
};

function drawConnection() {
  const { phase, delivery, reconnects } = connection;
  let text = connection.text || PHASE_TEXT[phase] || phase;
  if (phase === 'live' && delivery === 'degraded') text = 'Live; delivery degraded (slower)';
  if (phase === 'live' && delivery === 'store_away') text = 'Connected; store unavailable';
  setText($('connection-text'), text);
  setText($('reconnects'), reconnects ? `${reconnects} reconnect${reconnects === 1 ? '' : 's'}` : '');
  $('retry').hidden = ['live', 'connecting', 'behind'].includes(phase);
  setText($('retry'), phase === 'finished' ? 'Watch again' : 'Retry now');
  setData($('connection'), 'tone', phase === 'live' && delivery !== 'ok' ? TONES[delivery] : TONES[phase]);
  const { resyncs, resync, closing } = connection;
  const { id, version, status, percent, watching, count } = flow || { count: list.changes };
  const attributes = { view: flow ? 'flow' : 'list', connection: phase, delivery, reconnects, resyncs, resync, closing,
    flow: id, version, status, progress: percent, watching, events: count };
  for (const name in attributes) setData(body, name, attributes[name]);
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

// A <progress> without a value looks busy indefinitely: a flow without progress has no bar.
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

const list = { flows: new Map(), changes: 0, loaded: false, next: null, extra: false, mayNotReadWatchers: false };
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
  if (type === 'flows') applyPage(data.flows || [], !list.extra);
  else if (type === 'flow') { list.changes += 1; applyFlow(data); }
  if (connection.phase !== 'live') setPhase('live');
  draw('list');
}

// The feed's page replaces the whole list, unless the user has loaded further pages.
function applyPage(flows, replaces) {
  if (replaces) {
    const kept = new Set(flows.map((item) => item.flow_id));
    for (const id of [...list.flows.keys()]) if (!kept.has(id)) dropFlow(id);
  }
  for (const item of flows) applyFlow(item, replaces);
  list.loaded = true;
}

function applyFlow(item, force = false) {
  if (!item || typeof item.flow_id !== 'string') return;
  const row = list.flows.get(item.flow_id) || { id: item.flow_id, percent: null, watching: null, updated: 0 };
  if (!force && item.version < row.version) return;
  row.version = item.version;
  row.status = item.status || '';
  row.updated = millis(item.updated_at) || row.updated;
  if (isObject(item.state)) row.percent = progressIn(item.state, row);
  list.flows.set(row.id, row);
  if (list.flows.size > LIMITS.flows) dropFlow(list.flows.keys().next().value);
}

function dropFlow(id) {
  const item = list.flows.get(id);
  if (item && item.li) { observer.unobserve(item.li); item.li.remove(); }
  visible.delete(id);
  list.flows.delete(id);
}

async function probeList() {
  const response = await api('GET', 'v1/flows?limit=100');
  if (!response.ok) return outcomeOf(response);
  applyPage(response.data.flows || [], !list.extra);
  draw('list');
  return { polling: true };
}

// With `checksOnly`, only find out whether there are more flows than in the feed's page. The feed's page has the newest changes,
// these pages are sorted by id: they start at the first id.
async function loadMore(checksOnly) {
  const after = list.extra && list.next ? `&after=${encodeURIComponent(list.next)}` : '';
  const response = await api('GET', `v1/flows?limit=100${after}`);
  if (!response.ok || flow) return;
  if (!checksOnly) list.extra = true;
  if (!list.loaded || !checksOnly) applyPage(response.data.flows || [], false);
  list.next = response.data.next || null;
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
  orderRows(rows);
  rows.forEach(drawRow);
  const total = list.flows.size;
  const of = rows.length < total ? `${rows.length} of ` : '';
  setText($('list-count'), list.loaded ? `${of}${total}${list.next ? '+' : ''} flow${total === 1 ? '' : 's'}` : '');
  $('list-empty').hidden = !list.loaded || shown.length > 0;
  setText($('list-empty'), total ? 'No flow matches the filter.' : 'No flows yet. Create one with the form below.');
  $('more').hidden = !list.next;
}

// Rows must not move under the pointer: while it moves over the list, the order is frozen.
let pointerMovedAt = 0;
function orderRows(rows) {
  const parent = $('flows');
  const isFrozen = Date.now() - pointerMovedAt < 2500 && rows.every((item) => item.li && item.li.parentNode);
  if (isFrozen) setTimeout(() => draw('list'), 2600);
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
  version.dataset.label = 'version'; // shown if the columns have no headings
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

// Adds new values to the options of a select or datalist.
function addOptions(parent, items, member = 'status') {
  const present = new Set([...parent.children].map((option) => option.value));
  for (const value of new Set(items.map((item) => item[member]))) {
    if (!present.has(value)) parent.append(new Option(value));
  }
}

// The feed has neither progress nor the number of subscribers. Load them for the visible rows, one request at a time.
async function loadVisibleRows() {
  if (!flow && !document.hidden && list.loaded && connection.phase !== 'unauthorized') {
    for (const id of [...visible].slice(0, LIMITS.visible)) {
      const item = list.flows.get(id);
      if (!item || flow) continue;
      if (item.seenVersion !== item.version && !item.heavy && item.status !== 'deleted') await loadProgress(item);
      if (!list.mayNotReadWatchers && Date.now() - (item.watchersLoadedAt || 0) > LIMITS.watchers) await loadWatchers(item);
    }
  }
  setTimeout(loadVisibleRows, LIMITS.details);
}

async function loadProgress(item) {
  const version = item.version;
  const response = await api('GET', `v1/flows/${item.id}/state`);
  item.seenVersion = version;
  item.heavy = response.size > LIMITS.eventText; // too large to load for a progress bar at every change
  if (response.ok) item.percent = progressIn(response.data.state, item);
  draw('list');
}

async function loadWatchers(item) {
  item.watchersLoadedAt = Date.now();
  const response = await api('GET', `v1/flows/${item.id}/connections`);
  if (response.ok && Array.isArray(response.data.connections)) item.watching = response.data.connections.length;
  if (response.status === 403) list.mayNotReadWatchers = true; // this token may not read them: do not retry
  draw('list');
}

// Without a feed the list is polled, until the next attempt to open the stream succeeds.
setInterval(() => { if (!flow && connection.phase === 'polling' && !document.hidden) probeList(); }, LIMITS.poll);

// ------------------------------ one flow

let flow = null;

function openFlow(id) {
  const listed = list.flows.get(id);
  flow = {
    id, version: null, status: '', fallbackStatus: '', state: {}, percent: null, hundred: false, watching: null,
    updated: listed ? listed.updated : 0,
    count: 0, log: [], undrawn: [], trackedVersion: null, missing: null, isLoading: false, loadedAt: 0, seconds: new Array(60).fill(0),
    paused: false, undrawnWhilePaused: 0, deleted: false, settled: false, imports: new Map(),
  };
  const types = [...HUB_TYPES, ...IMPORT_TYPES, 'progress', 'tick', 'log', ...knownTypes()];
  stream = new Stream(`v1/flows/${id}/events`, { presence: '1' }, types, probeFlow, onFlowEvent);
  stream.open();
}

async function probeFlow() {
  const shown = flow;
  const response = await api('GET', `v1/flows/${shown.id}/state`);
  if (shown.deleted || (response.ok && TERMINAL.has(response.data.status) && response.data.version === shown.version)) {
    return { phase: 'finished', text: 'Finished: the stream has ended' }; // the stream was answered with 204: the cursor is at the end
  }
  return outcomeOf(response);
}

function onFlowEvent(type, data, text, lastId) {
  switch (type) {
  case 'snapshot': applySnapshot(data); break;
  case 'resync': applyResync(data, text); break;
  case 'caught_up': setPhase('live'); break;
  case 'presence': flow.watching = data.count; break;
  case 'heartbeat': break;
  default: applyEvent(type, data, text);
  }
  // After a resync in mid-stream, everything after the snapshot is live.
  if (flow.settled && connection.phase === 'behind' && type !== 'snapshot' && type !== 'resync') setPhase('live');
  trackCursor(versionOf(lastId), type);
  draw();
}

// The version of a cursor `<epoch>-<version>`. EventSource reports the cursor with every event, also with a heartbeat.
function versionOf(id) {
  const found = /-(\d+)$/.exec(id);
  return found ? Number(found[1]) : null;
}

function applySnapshot(data) {
  const first = flow.version === null;
  Object.assign(flow, {
    version: data.version, state: isObject(data.state) ? data.state : {}, trackedVersion: data.version, settled: !first,
  });
  flow.fallbackStatus = typeof flow.state.status === 'string' ? '' : data.status || '';
  flow.status = data.status || statusOf();
  flow.deleted = flow.status === 'deleted';
  flow.percent = progressIn(flow.state, flow);
  for (const [type, event] of Object.entries(isObject(data.last) ? data.last : {})) {
    addType(type);
    applyProgress(type, event && event.data);
    applyImport(type, event && event.data, millis(event && event.timestamp));
  }
  if (first && data.version > 0) requestMissing(Math.max(1, data.version - 29), data.version); // the latest events before the snapshot
  if (flow.deleted) notice('This flow was deleted.', 'bad');
  else if (data.version === 0) notice('This flow does not exist yet. The page waits for its first event.');
  else if (!connection.resync) notice('');
  draw('tree');
}

function applyResync(data, text) {
  connection.resyncs += 1;
  connection.resync = String(data.reason || 'unknown');
  flow.settled = false;
  flow.missing = null;
  log({ type: 'resync', text, order: (flow.version ?? 0) + 0.5, at: Date.now() });
  const range = data.from != null && data.to != null ? ` (versions ${data.from} to ${data.to} are not replayed)` : '';
  notice(`Resynced at ${clockTime(Date.now())}: ${connection.resync.replaceAll('_', ' ')}${range}. The state below is current.`);
  setPhase('behind', `Resync: ${connection.resync}`);
}

function statusOf() {
  return typeof flow.state.status === 'string' ? flow.state.status : flow.fallbackStatus;
}

function applyEvent(type, data, text) {
  const event = isObject(data) ? data : {};
  const version = typeof event.version === 'number' ? event.version : null;
  if (version !== null && flow.version !== null && version <= flow.version) return; // contained in the snapshot
  if (flow.version === 0 && version !== null && type !== 'flow_deleted') notice('');
  // A foreign event (no version) does not change the flow's state: it is shown, not applied.
  if (type === 'state_update' && version !== null) applyUpdate(event);
  else if (type === 'flow_deleted') applyDeletion();
  else applyProgress(type, event.data);
  applyImport(type, event.data, millis(event.timestamp) || Date.now());
  if (version !== null) flow.version = version;
  flow.updated = millis(event.timestamp) || Date.now();
  flow.count += 1;
  flow.seconds[flow.seconds.length - 1] += 1;
  log({
    type: event.type || type, version, text, order: version ?? (flow.version ?? 0) + 0.5, at: millis(event.timestamp) || Date.now(),
    foreign: event.foreign === true,
  });
}

// The data may be a bare number.
function applyProgress(type, data) {
  if (type !== 'progress' && type !== 'tick') return;
  flow.percent = progressIn(isObject(data) ? data : { progress: data }, flow) ?? flow.percent;
}

function applyUpdate(update) {
  flow.state = update.replace === true ? mergePatch({}, update.updates) : mergePatch(flow.state, update.updates);
  if (!isObject(flow.state)) flow.state = {};
  if (update.replace === true || (isObject(update.updates) && Object.hasOwn(update.updates, 'status'))) flow.fallbackStatus = '';
  flow.status = statusOf();
  const hasProgress = progressIn(update.updates, flow) !== null || update.replace === true;
  if (hasProgress || flow.percent === null || TERMINAL.has(flow.status)) flow.percent = progressIn(flow.state, flow) ?? flow.percent;
  if (flow.deleted) notice('');
  flow.deleted = false;
  draw('tree');
}

function applyDeletion() {
  Object.assign(flow, { state: {}, status: 'deleted', fallbackStatus: '', percent: null, deleted: true });
  notice('This flow was deleted.', 'bad');
  draw('tree');
}

// ------------------------------ missing event types

// EventSource drops types without a listener, but its cursor advances. A cursor ahead of the received events therefore means an
// unknown type: history has its name, and with a listener it is dispatched from then on.
function trackCursor(version, type) {
  if (version === null || flow.trackedVersion === null) return;
  const own = !['heartbeat', 'presence', 'caught_up', 'snapshot', 'resync'].includes(type) && version === flow.version;
  const last = own ? version - 1 : version;
  if (last > flow.trackedVersion) { flow.count += last - flow.trackedVersion; requestMissing(flow.trackedVersion + 1, last); }
  flow.trackedVersion = Math.max(flow.trackedVersion, version);
  flow.version = Math.max(flow.version, version);
}

function requestMissing(from, to) {
  flow.missing = flow.missing ? [Math.min(from, flow.missing[0]), Math.max(to, flow.missing[1])] : [from, to];
  loadHistory();
}

async function loadHistory() {
  const shown = flow;
  if (!shown || shown.isLoading || !shown.missing || Date.now() - shown.loadedAt < 2000) return; // everySecond() retries
  const [from, to] = shown.missing;
  Object.assign(shown, { missing: null, isLoading: true, loadedAt: Date.now() });
  const after = Math.max(from, to - LIMITS.history + 1) - 1;
  const response = await api('GET', `v1/flows/${shown.id}/history?after=${after}&limit=${LIMITS.history}`);
  shown.isLoading = false;
  if (flow !== shown || !response.ok) return;
  const have = new Set(shown.log.map((entry) => entry.version));
  const events = Array.isArray(response.data) ? response.data : response.data.events || [];
  for (const event of events) if (event.version >= from && event.version <= to && !have.has(event.version)) insertFromHistory(event);
  draw('logAll');
}

function insertFromHistory(event) {
  addType(event.type);
  const at = millis(event.timestamp);
  applyImport(event.type, event.data, at);
  const entry = { type: event.type, version: event.version, text: JSON.stringify(event), order: event.version, at };
  const index = flow.log.findIndex((other) => other.order < entry.order);
  flow.log.splice(index < 0 ? flow.log.length : index, 0, truncateEntry(entry));
  flow.log.length = Math.min(flow.log.length, LIMITS.log);
  flow.updated = Math.max(flow.updated, at);
}

const knownTypes = () => sessionValue('flowhub.types').split(' ').filter(Boolean);

function addType(type) {
  if (typeof type !== 'string' || HUB_TYPES.includes(type) || !ID.test(type)) return;
  if (stream) stream.listen(type);
  const types = knownTypes();
  if (!types.includes(type)) sessionValue('flowhub.types', [...types, type].slice(-LIMITS.types / 2).join(' '));
}

// ------------------------------ drawing a flow

function truncateEntry(entry) {
  entry.text = truncate(entry.text, LIMITS.eventText);
  return entry;
}

function log(entry) {
  flow.log.unshift(truncateEntry(entry));
  if (flow.log.length > LIMITS.log) flow.log.length = LIMITS.log;
  if (flow.paused) flow.undrawnWhilePaused += 1; else flow.undrawn.push(entry);
  if (flow.undrawn.length > LIMITS.log) flow.undrawn.shift();
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

// A large state is drawn less often: the pause is ten times the duration of the drawing, at most 2 s.
let nextStateDrawing = 0;
function drawState() {
  const started = performance.now();
  if (started < nextStateDrawing) { setTimeout(() => draw('tree'), nextStateDrawing - started); return; }
  dirty.tree = false;
  $('state-json').textContent = JSON.stringify(flow.state);
  drawTree(flow.state);
  nextStateDrawing = performance.now() + Math.min(2000, 10 * (performance.now() - started));
}

function drawLog() {
  const parent = $('events');
  const wanted = $('type-filter').value.trim();
  const matches = (entry) => !wanted || entry.type === wanted;
  setText($('pause'), flow.paused ? `Resume${flow.undrawnWhilePaused ? ` (${flow.undrawnWhilePaused})` : ''}` : 'Pause');
  if (flow.paused && !dirty.logAll) { dirty.log = false; return; }
  if (dirty.logAll) parent.replaceChildren(...flow.log.filter(matches).map(makeEvent));
  else {
    parent.prepend(...flow.undrawn.filter(matches).reverse().map(makeEvent));
    while (parent.children.length > LIMITS.log) parent.lastChild.remove();
  }
  flow.undrawn = [];
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
  const label = entry.version != null ? `#${entry.version}` : entry.foreign ? 'foreign' : entry.type === 'resync' ? '' : 'live';
  line.append(
    el('span', 'v', label), el('span', 't', entry.type), el('time', 'w', entry.at ? clockTime(entry.at) : ''),
    el('span', 'd', summaryText(entry.text)));
  details.append(line);
  details.addEventListener('toggle', () => {
    if (details.open && !details.querySelector('pre')) details.append(el('pre', '', pretty(entry.text)));
  });
  li.append(details);
  return li;
}

// The line shows the event's own content; the details show the whole event.
function summaryText(text) {
  try {
    const { updates, data, reason } = parse(text);
    return JSON.stringify(updates ?? data ?? reason ?? '').slice(0, 300);
  } catch { return text.slice(0, 300); }
}

function pretty(text) {
  try { return JSON.stringify(parse(text), null, 2); } catch { return text; }
}

// The events of the last minute as a filled line, one point per second.
function drawPulse() {
  const top = Math.max(4, ...flow.seconds);
  const points = flow.seconds.map((count, index) => `L${(index * 120 / 59).toFixed(1)} ${(23 - 21 * count / top).toFixed(1)}`);
  $('pulse-path').setAttribute('d', `M0 24${points.join('')}L120 24Z`);
  flow.seconds.push(0);
  flow.seconds.shift();
}

// ------------------------------ imports

// Applies an import event. Import events may arrive late, twice (replay) and out of order (the latest progress comes with the
// snapshot, the end with the history), so their timestamps decide. `stored` is final; a failed import may be retried under its id.
function applyImport(type, data, at) {
  if (!IMPORT_TYPES.includes(type) || !isObject(data) || !UUID.test(data.import_id)) return;
  const item = flow.imports.get(data.import_id) || { id: data.import_id, kind: '', at: 0, startedAt: at, name: '', data: {} };
  const kind = { import_progress: 'running', import_stored: 'completed', import_failed: 'failed' }[type];
  // The timestamp of a failure is that of its commit, which may precede the last progress slightly.
  const isOutdated = kind === 'running'
    ? at < item.at || (item.kind === 'failed' && at === item.at)
    : kind === 'failed' && at < item.at - 2000;
  if (item.kind === 'completed' || isOutdated) return;
  // The last progress of an import that is no longer in progress, and whose end is not in the history that was loaded.
  if (kind === 'running' && !item.kind && at < Date.now() - 2 * LIMITS.importSilence) return;
  if (kind !== 'running' && item.kind === 'running') {
    setText($('imports-announcement'), `${nameOf(data, item)} ${kind === 'failed' ? 'failed' : 'is stored'}`);
  }
  Object.assign(item, { kind, at, data, name: nameOf(data, item), receivedAt: Date.now() });
  flow.imports.set(item.id, item);
  if (flow.imports.size > LIMITS.imports) dropImport([...flow.imports.values()].reduce((a, b) => b.startedAt < a.startedAt ? b : a));
  draw('imports');
}

const nameOf = (data, item) =>
  typeof data.file_name === 'string' && data.file_name ? truncate(data.file_name, 200) : item.name || item.id.slice(0, 8);

function dropImport(item) {
  if (item.parts) item.parts.li.remove();
  flow.imports.delete(item.id);
}

function drawImports() {
  dirty.imports = false;
  const items = [...flow.imports.values()].sort((a, b) => b.startedAt - a.startedAt);
  $('imports-card').hidden = items.length === 0;
  items.forEach((item, index) => {
    item.parts ||= makeImport(item);
    const { li } = item.parts;
    if ($('imports').children[index] !== li) $('imports').insertBefore(li, $('imports').children[index] || null);
    drawImport(item);
  });
}

function makeImport(item) {
  const parts = {
    li: el('li'), file: el('bdi', 'file'), percent: el('span'), link: el('a', '', 'Download'), bar: el('progress'),
    note: el('span', 'note'),
  };
  const { li, file, percent, link, bar, note } = parts;
  li.dataset.importId = item.id;
  bar.max = 100;
  for (const [name, value] of [['role', 'progressbar'], ['aria-valuemin', '0'], ['aria-valuemax', '100']]) bar.setAttribute(name, value);
  link.href = `v1/imports/${item.id}/download`;
  link.addEventListener('click', (event) => downloadImport(event, item));
  const side = el('span', 'side');
  side.append(percent, link);
  li.append(file, side, bar, note);
  return parts;
}

// Saves an import's records. A link cannot send the token in a header, and in a URL the token would end up in logs. So the page
// asks for a signed link, which expires soon; where there are none, it reads the records itself.
async function downloadImport(event, item) {
  event.preventDefault();
  const { currentTarget: link } = event;
  const path = `v1/imports/${item.id}`;
  const headers = sessionValue('flowhub.token') ? { Authorization: `Bearer ${sessionValue('flowhub.token')}` } : {};
  setText(link, 'Preparing…');
  try {
    const signed = await fetch(`${path}/download`, { headers: { ...headers, Accept: 'application/json' }, cache: 'no-store' });
    if (signed.ok) {
      save((await signed.json()).url, '');
    } else {
      const records = await fetch(`${path}/data`, { headers, cache: 'no-store' });
      if (!records.ok) throw new Error((await records.json()).detail);
      const url = URL.createObjectURL(await records.blob());
      save(url, `${item.name.split('.')[0] || item.id}.json`);
      setTimeout(() => URL.revokeObjectURL(url), 60_000);
    }
    link.title = '';
    setText(link, 'Download');
  } catch (error) {
    link.title = String(error.message);
    setText(link, 'Download failed');
  }
}

// Lets the browser save what is behind a URL.
function save(url, name) {
  const link = el('a');
  link.href = url;
  link.download = name;
  link.click();
}

function drawImport(item) {
  const { li, file, percent, link, bar, note } = item.parts;
  const percentOfBytes = percentOf(item);
  setData(li, 'kind', item.kind);
  setData(li, 'percent', percentOfBytes);
  setText(file, item.name);
  setText(percent, percentText(percentOfBytes));
  percent.hidden = item.kind !== 'running';
  link.hidden = item.kind !== 'completed';
  setText(note, noteOf(item));
  note.title = note.textContent;
  setData(bar, 'kind', item.kind);
  if (percentOfBytes === null) { bar.removeAttribute('value'); bar.removeAttribute('aria-valuenow'); }
  else if (bar.value !== percentOfBytes || !bar.hasAttribute('value')) {
    bar.value = percentOfBytes;
    bar.setAttribute('aria-valuenow', Math.floor(percentOfBytes));
  }
  bar.setAttribute('aria-valuetext', note.textContent);
  bar.setAttribute('aria-label', `Import of ${item.name}`);
}

// The progress in percent of the request's bytes; null if the length is unknown. A failed import keeps its last value.
function percentOf(item) {
  if (item.kind === 'completed') return 100;
  const [done, total] = [number(item.data.bytes), number(item.data.total_bytes)];
  if (done >= 0 && total > 0) item.percentOfBytes = Math.min(100, 100 * done / total);
  else if (item.kind === 'running') item.percentOfBytes = null;
  return item.percentOfBytes ?? (item.kind === 'failed' ? 0 : null);
}

function noteOf({ kind, data, receivedAt }) {
  if (kind === 'failed') {
    const [code, reason] = [data.code, data.reason].map((text) => typeof text === 'string' ? truncate(text, 500) : '');
    return `failed: ${reason || 'no reason given'}${code && ` (${code})`}`;
  }
  const of = (name) => number(data[name]);
  if (kind === 'completed') {
    const [records, compressed, original] = ['total_records', 'size_bytes', 'original_size_bytes'].map(of);
    const count = recordsText(records);
    const suffix = compressed === original ? '' : `compressed to ${bytesText(compressed)}`;
    const sizes = original >= 0 && compressed >= 0 ? `${bytesText(original)} ${suffix}`.trim() : '';
    return `stored${count || sizes ? `: ${[count, sizes].filter(Boolean).join(', ')}` : ''}`;
  }
  const silent = Date.now() - receivedAt;
  const isLive = silent <= LIMITS.importSilence;
  const [done, total, records, byteRate, recordRate] =
    ['bytes', 'total_bytes', 'records', 'bytes_per_second', 'records_per_second'].map(of);
  return [
    done >= 0 ? bytesText(done) + (total > 0 ? ` of ${bytesText(total)}` : '') : '',
    isLive ? '' : `no progress for ${durationText(silent / 1000)}`,
    isLive && byteRate > 0 && total > done ? `${durationText((total - done) / byteRate)} left` : '',
    isLive && byteRate >= 0 ? `${bytesText(byteRate)}/s` : '',
    recordsText(records),
    isLive && recordRate >= 0 ? `${Math.round(recordRate).toLocaleString()} records/s` : '',
  ].filter(Boolean).join(' · ');
}

const recordsText = (count) => count >= 0 ? `${count.toLocaleString()} record${count === 1 ? '' : 's'}` : '';

// Decimal units, at most three digits.
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

let tree = null; // kept between drawings, so that open branches stay open and changes can be highlighted
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
    const created = makeNode(key, value[key], depth + 1);
    if (old) old.node.replaceWith(created.node); else branch.box.append(created.node);
    branch.kids.set(key, created);
    if (flashes) flash(created.node);
  }
}

function makeNode(key, value, depth) {
  const kind = kindOf(value);
  if (kind === 'leaf') {
    const entry = { kind, node: el('div'), text: el('span') };
    entry.node.append(el('span', 'key', `${key}: `), entry.text);
    updateNode(entry, value, depth, false);
    return entry;
  }
  const entry = { kind, node: el('details'), kids: new Map(), box: el('div', 'kids'), size: el('span', 'key') };
  const line = el('summary');
  line.append(el('span', 'key', `${key} `), entry.size);
  entry.node.append(line, entry.box);
  entry.node.open = depth < 3 && Object.keys(value).length <= 30;
  updateNode(entry, value, depth, false);
  return entry;
}

function updateNode(entry, value, depth, flashes) {
  if (entry.kind !== 'leaf') {
    const size = Object.keys(value).length;
    setText(entry.size, entry.kind === 'array' ? `[${size}]` : `{${size}}`);
    return updateKids(entry, value, depth, flashes);
  }
  const text = truncate(isRaw(value) ? value.rawJSON : JSON.stringify(value), 2000);
  if (entry.text.textContent === text) return;
  entry.text.textContent = text;
  entry.text.className = typeof value === 'string' ? 'string' : typeof value === 'number' || isRaw(value) ? 'number' : 'literal';
  if (flashes) flash(entry.node);
}

function flash(node) {
  if (node.classList.contains('flash')) return;
  node.classList.add('flash');
  setTimeout(() => node.classList.remove('flash'), 1600);
}

// ------------------------------ token and forms

function showTokenForm(why) {
  $('token-form').hidden = false;
  const where = 'Stored in a cookie that no script can read, until the token ends.';
  setText($('token-note'), why ? `${why} ${where}` : where);
}

async function useToken(value) {
  const token = value.trim();
  $('token').value = '';
  sessionValue('flowhub.token', '');
  sessionValue('flowhub.session', '');
  if (!token) await fetch('v1/session', { method: 'DELETE' }).catch(() => {});
  else if (await beginSession(token)) sessionValue('flowhub.session', 'yes');
  else sessionValue('flowhub.token', token);
  $('token-form').hidden = true;
  route();
}

// Lets the hub set the cookie. Returns false if the token is invalid, or if the browser does not store the cookie, as over plain
// HTTP from another machine: then the token is stored for this tab, and sent with each request.
async function beginSession(token) {
  try {
    const begun = await fetch('v1/session', { method: 'POST', headers: { Authorization: `Bearer ${token}` }, cache: 'no-store' });
    return begun.ok && (await fetch('v1/flows?limit=1', { cache: 'no-store' })).status !== 401;
  } catch { return false; }
}

async function send(form, method, path, content) {
  const button = form.querySelector('button');
  button.disabled = true;
  const response = await api(method, path, content);
  button.disabled = false;
  const { ok, status, problem: { title, detail, code }, data } = response;
  const good = data.version == null ? 'sent to the current subscribers' : `version ${data.version}`;
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
  const auth = sessionValue('flowhub.token') || sessionValue('flowhub.session') ? ` -H "Authorization: Bearer $TOKEN"` : '';
  return `curl -X ${method} ${new URL(path, location.href)}${auth} -H 'Content-Type: application/json' -d ${quoted(content)}`;
}

// Also checked here, so that the browser shows the syntax error at its field.
function validJSON(field) {
  try { JSON.parse(field.value); field.setCustomValidity(''); return field.value; }
  catch (error) { field.setCustomValidity(error.message); field.reportValidity(); return null; }
}

async function sendState(event) {
  event.preventDefault();
  const { flow: id, method, body: text } = event.target.elements;
  const content = validJSON(text);
  if (content !== null && await send(event.target, method.value, `v1/flows/${id.value}/state`, content)) followIfReopened(id.value);
}

async function sendEvent(event) {
  event.preventDefault();
  const { flow: id, type, durable, body: text } = event.target.elements;
  const data = validJSON(text);
  if (data === null) return;
  addType(type.value);
  const content = `{"type":${JSON.stringify(type.value)},"data":${data},"durable":${durable.checked}}`; // the data as it was entered
  if (await send(event.target, 'POST', `v1/flows/${id.value}/events`, content)) followIfReopened(id.value);
}

// A change may have reopened a flow whose stream has ended.
function followIfReopened(id) {
  if (flow && flow.id === id && !stream.source && ['finished', 'closed'].includes(connection.phase)) retryNow();
}

// ------------------------------ routing and start

function route() {
  if (stream) stream.close();
  const found = /^#flow=(.*)$/.exec(location.hash);
  const id = found ? found[1].replaceAll('%3A', ':') : '';
  stream = flow = null;
  Object.assign(connection, INITIAL_CONNECTION);
  notice('');
  clearFlowView();
  const valid = ID.test(id);
  $('list-view').hidden = valid;
  $('flow-view').hidden = !valid;
  if (valid) openFlow(id); else openList();
  if (found && !valid) notice('Invalid flow id: use 1 to 128 of A-Z a-z 0-9 _ . : -', 'bad');
  if (valid) for (const form of [$('state-form'), $('event-form')]) form.elements.flow.value = id;
  if (!valid) document.title = 'FlowHub';
  draw('list', 'tree');
}

function clearFlowView() {
  tree = null;
  nextStateDrawing = 0;
  for (const id of ['state-tree', 'events', 'type-list', 'imports']) $(id).replaceChildren();
  $('imports-card').hidden = true;
  setText($('imports-announcement'), '');
  $('state-json').textContent = '{}';
  $('type-filter').value = '';
  $('events-empty').hidden = false;
  $('pause').setAttribute('aria-pressed', 'false');
  setText($('pause'), 'Pause');
}

function everySecond() {
  if (stream) stream.checkSilence();
  if (flow) { drawPulse(); loadHistory(); draw('imports'); } else if (Date.now() % 5000 < 1000) draw('list');
}

const on = (id, type, act) => $(id).addEventListener(type, act);

function start() {
  addEventListener('hashchange', () => { route(); scrollTo(0, 0); });
  addEventListener('pagehide', () => { if (stream) stream.close(); });
  addEventListener('pageshow', (event) => { if (event.persisted) route(); });
  // A frame that was requested just before the tab was hidden is not delivered.
  document.addEventListener('visibilitychange', () => { if (drawScheduled) requestFrame(); });
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
  on('flows', 'pointermove', () => { pointerMovedAt = Date.now(); });
  on('flows', 'pointerleave', () => { pointerMovedAt = 0; draw('list'); });
  on('type-filter', 'change', () => { addType($('type-filter').value.trim()); draw('logAll'); });
  on('pause', 'click', () => {
    flow.paused = !flow.paused;
    flow.undrawnWhilePaused = 0;
    $('pause').setAttribute('aria-pressed', String(flow.paused));
    draw('logAll');
  });
  on('clear', 'click', () => { flow.log = []; flow.undrawn = []; draw('logAll'); });
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
  setTimeout(loadVisibleRows, 700);
  route();
}

start();
