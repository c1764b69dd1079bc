// Reads event streams with Node's fetch. The same input and output as the Python programs beside it.
import { createHash } from 'node:crypto';
import { createInterface } from 'node:readline';
import { writeSync } from 'node:fs';

const write = (members) => {
  const bytes = Buffer.from(`${JSON.stringify(members)}\n`);
  for (let start = 0; start < bytes.length;) {
    try { start += writeSync(1, bytes, start); } catch (problem) { if (problem.code !== 'EAGAIN') throw problem; }
  }
};

async function* read(url, cursor) {
  const response = await fetch(url, { headers: cursor ? { 'Last-Event-ID': cursor } : {} });
  if (response.status === 204) return;
  if (!response.ok) throw new Error(`status ${response.status}`);
  let [rest, type, id, data] = ['', 'message', null, []];
  for await (const text of response.body.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    for (const line of lines.map((line) => line.replace(/\r$/, ''))) {
      const [, field, value] = /^([^:]*):? ?(.*)$/s.exec(line);
      if (field === 'event') type = value;
      else if (field === 'id') id = value;
      else if (field === 'data') data.push(value);
      else if (line === '') {
        if (data.length) yield { type, id, data: data.join('\n') };
        [type, data] = ['message', []];
      }
    }
  }
}

async function follow(reading, url) {
  let cursor = null;
  for (;;) {
    try {
      for await (const event of read(url, cursor)) {
        const at = (performance.timeOrigin + performance.now()) / 1000;
        const value = JSON.parse(event.data);
        cursor = event.id ?? cursor;
        if (event.data.length > 65_536) {
          const sha256 = createHash('sha256').update(JSON.stringify(value.state)).digest('hex');
          event.data = JSON.stringify({ ...value, state: { sha256 } });
        }
        write({ reading, ...event, at });
        if (event.type === 'closing' && !value.reconnect) return;
      }
    } catch (problem) {
      if (!(problem instanceof TypeError)) return write({ reading, failure: String(problem) }); // a lost connection is a TypeError
    }
    await new Promise((done) => setTimeout(done, 100));
  }
}

createInterface({ input: process.stdin }).on('line', (line) => follow(...line.split(' '))).on('close', () => process.exit(0));
