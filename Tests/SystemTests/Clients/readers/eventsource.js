// Reads event streams with the browser's EventSource, in a page of the hub's origin.
// `next(name)` resolves with the events of a reading that it has not returned yet, as JSON text, as soon as there is one. A large
// state is hashed, as by the programs beside it.
window.readers = {};
window.reader = {
  open(name, url, types) {
    const source = new EventSource(url);
    const reading = window.readers[name] = { source, events: [], wake: () => {} };
    const receive = (event) => {
      const at = (performance.timeOrigin + performance.now()) / 1000;
      reading.events.push({ reading: name, type: event.type, id: event.lastEventId || null, data: event.data, at });
      reading.wake();
    };
    for (const type of types) source.addEventListener(type, receive);
  },
  async next(name) {
    const reading = window.readers[name];
    if (!reading.events.length) await new Promise((wake) => { reading.wake = wake; setTimeout(wake, 10_000); });
    const events = reading.events.splice(0);
    for (const event of events) {
      if (event.data.length <= 65_536) continue;
      const value = JSON.parse(event.data);
      const hash = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(JSON.stringify(value.state)));
      const sha256 = [...new Uint8Array(hash)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
      event.data = JSON.stringify({ ...value, state: { sha256 } });
    }
    return JSON.stringify(events);
  },
};
