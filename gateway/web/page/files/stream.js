// Server-sent events over fetch: EventSource can send no token.

import { ask, Unknown } from "./access.js";

const SILENCE = 15_000; // the gateway says something every five seconds
const FIRST_WAIT = 500;
const LONGEST_WAIT = 5_000;

/** The events of a response, as [name, data]. */
async function* read(response, heard) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    heard();
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n");
      const part = (name) => lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
      const data = part("data");
      if (data !== undefined) yield [part("event") ?? "message", data];
    }
  }
}

/**
 * Follow a stream for as long as the page is there and seen: `told(name, data)` for each event, `lost(why)` when it
 * ends, before it is opened again. Returns when the gateway asks who looks: with `Unknown`.
 */
export async function follow(path, told, lost) {
  let wait = FIRST_WAIT;
  for (;;) {
    await seen();
    const stop = new AbortController();
    let timer = 0;
    let why = "no connection";
    const heard = () => {
      clearTimeout(timer);
      timer = setTimeout(() => stop.abort(), SILENCE);
    };
    const hidden = () => document.hidden && stop.abort();
    document.addEventListener("visibilitychange", hidden);
    try {
      heard();
      const response = await ask(path, { headers: { Accept: "text/event-stream" }, signal: stop.signal });
      if (!response.ok) {
        why = (await response.json()).detail;
      } else {
        for await (const [name, data] of read(response, heard)) {
          wait = FIRST_WAIT;
          if (name === "end") why = "the gateway stopped";
          else told(name, data);
        }
      }
    } catch (error) {
      if (error instanceof Unknown) return error;
    } finally {
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", hidden);
      stop.abort();
    }
    lost(why);
    await new Promise((resolve) => setTimeout(resolve, wait));
    wait = Math.min(wait * 2, LONGEST_WAIT);
  }
}

/** When the page is to be seen: nobody pays for a tab in the background. */
function seen() {
  if (!document.hidden) return Promise.resolve();
  return new Promise((resolve) => {
    const look = () => {
      if (document.hidden) return;
      document.removeEventListener("visibilitychange", look);
      resolve();
    };
    document.addEventListener("visibilitychange", look);
  });
}
