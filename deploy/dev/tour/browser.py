"""Watches a flow in a headless Chromium, driven over its DevTools pipe, while imports run.

    browser.py URL FOLDER COUNT

Prints `live` when the page's stream is open. Saves a screenshot FOLDER/during.png during the first import and FOLDER/after.png when
COUNT imports are completed. Then prints what the page showed as one JSON object.
"""
import base64, json, os, shutil, signal, subprocess, sys, tempfile

URL, FOLDER, COUNT = sys.argv[1], sys.argv[2], int(sys.argv[3])
SECONDS = 300

# Records what the page showed for each import. On loopback an import takes about one second, so when the first one is between 30 % and
# 95 %, the recorder holds back all events until the screenshot is taken.
RECORDER = """
window.shown = new Map();
window.heldBack = null;
let isPhotographed = false;
const listen = EventSource.prototype.addEventListener;
EventSource.prototype.addEventListener = function (type, handler) {
  listen.call(this, type, (event) => { if (window.heldBack) window.heldBack.push([handler, event]); else handler(event); });
};
window.goOn = () => {
  isPhotographed = true;
  const events = window.heldBack || [];
  window.heldBack = null;
  for (const [handler, event] of events) handler(event);
};
new MutationObserver(() => {
  for (const item of document.querySelectorAll('#imports > li')) {
    const { importId, kind, percent } = item.dataset;
    const seen = shown.get(importId) || { kinds: [], percents: [] };
    if (kind && seen.kinds.at(-1) !== kind) seen.kinds.push(kind);
    if (percent && seen.percents.at(-1) !== Math.floor(percent)) seen.percents.push(Math.floor(percent));
    shown.set(importId, seen);
    if (!isPhotographed && kind === 'running' && percent >= 30 && percent < 95) window.heldBack ||= [];
  }
}).observe(document, { subtree: true, childList: true, attributes: true });
"""


class Browser:
    def __init__(self):
        self.profile = tempfile.mkdtemp(prefix="profile-", dir=FOLDER)
        commands, messages = os.pipe(), os.pipe()
        # The browser reads from descriptor 3 and writes to 4: JSON messages, each terminated by NUL.
        script = f"exec chromium \"$@\" 3<&{commands[0]} 4>&{messages[1]}"
        self.process = subprocess.Popen(
            ["bash", "-c", script, "bash", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-extensions", "--hide-scrollbars", "--remote-debugging-pipe",
             f"--user-data-dir={self.profile}", "about:blank"],
            pass_fds=(commands[0], messages[1]), start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=open(f"{FOLDER}/chromium.log", "wb"))
        os.close(commands[0])
        os.close(messages[1])
        self.commands, self.messages = os.fdopen(commands[1], "wb", 0), os.fdopen(messages[0], "rb", 0)
        self.buffer, self.last, self.session, self.complaints = b"", 0, None, []

    def message(self):
        while b"\0" not in self.buffer:
            part = self.messages.read(1 << 16)
            if not part:
                sys.exit(f"browser: Chromium exited; see {FOLDER}/chromium.log")
            self.buffer += part
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def send(self, method, **parameters):
        self.last += 1
        message = {"id": self.last, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        self.commands.write(json.dumps(message).encode() + b"\0")
        while True:
            answer = self.message()
            if answer.get("id") == self.last:
                if "error" in answer:
                    sys.exit(f"browser: {method}: {answer['error']}")
                return answer["result"]
            self.note(answer)

    def note(self, event):
        entry = event.get("params", {})
        if event["method"] == "Runtime.exceptionThrown":
            self.complaints.append(entry["exceptionDetails"].get("text", "exception"))
        elif event["method"] == "Log.entryAdded" and entry["entry"]["level"] == "error":
            self.complaints.append(entry["entry"]["text"])

    def value(self, expression):
        result = self.send("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            sys.exit(f"browser: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, condition):
        """Waits until the condition is true on the page, checked every 15 ms. Returns False after SECONDS."""
        return self.value(f"""new Promise((resolve) => {{
            const end = Date.now() + {SECONDS * 1000};
            const look = () => {{
              if ({condition}) resolve(true); else if (Date.now() > end) resolve(false); else setTimeout(look, 15);
            }};
            look();
        }})""")

    def screenshot(self, name):
        # The height of the content, up to one screen.
        height = self.value("Math.ceil(document.querySelector('main').getBoundingClientRect().bottom + scrollY)")
        clip = {"x": 0, "y": 0, "width": 1100, "height": min(height, 860), "scale": 1}
        image = self.send("Page.captureScreenshot", format="png", clip=clip)["data"]
        with open(f"{FOLDER}/{name}", "wb") as file:
            file.write(base64.b64decode(image))

    def end(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)


def watch(browser):
    target = browser.send("Target.createTarget", url="about:blank")["targetId"]
    browser.session = browser.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
    for domain in ("Page", "Runtime", "Log"):
        browser.send(f"{domain}.enable")
    browser.send("Emulation.setDeviceMetricsOverride", width=1100, height=860, deviceScaleFactor=1, mobile=False)
    # Without animation the bar shows the same value as the number.
    browser.send("Emulation.setEmulatedMedia", features=[
        {"name": "prefers-color-scheme", "value": "light"}, {"name": "prefers-reduced-motion", "value": "reduce"}])
    browser.send("Page.addScriptToEvaluateOnNewDocument", source=RECORDER)
    browser.send("Page.navigate", url=URL)
    if not browser.wait("document.body?.dataset.connection === 'live'"):
        sys.exit("browser: The page did not open its stream.")
    # Wait until the state is drawn and its highlight has ended.
    browser.wait("document.body.dataset.version !== undefined && !document.querySelector('.flash')")
    print("live", flush=True)

    kinds = "[...document.querySelectorAll('#imports > li')].map(({ dataset }) => dataset.kind).join(' ')"
    completed = f"document.querySelectorAll('#imports > li[data-kind=completed]').length >= {COUNT}"
    browser.wait(f"heldBack || {completed}")
    during = browser.value(kinds)
    browser.screenshot("during.png")
    browser.value("goOn()")
    browser.wait(completed)
    browser.screenshot("after.png")
    print(json.dumps({
        "during": during,
        "completed": browser.value(kinds).split().count("completed"),
        "imports": browser.value("Object.fromEntries(shown)"),
        "text": browser.value("[...document.querySelectorAll('#imports > li')].map((item) => item.innerText.replace(/\\s+/g, ' '))"),
        "complaints": browser.complaints,
    }), flush=True)


signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
browser = Browser()
try:
    watch(browser)
finally:
    browser.end()
