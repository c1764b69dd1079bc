// Reads event streams with the browser's EventSource, in a page of the hub's origin.
// `next(name)` resolves with the events of a reading that it has not returned yet, as JSON text, as soon as there is one.
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
    return JSON.stringify(reading.events.splice(0));
  },
};
