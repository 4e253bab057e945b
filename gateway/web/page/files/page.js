// The page: it follows the overview, and shows each as it comes.

import { ask, forget, known, Unknown, useToken, usePassword } from "./access.js";
import { byId, copy, mark, put } from "./dom.js";
import { follow } from "./stream.js";
import * as views from "./views.js";
import { command } from "./words.js";

const news = new views.News();
const flow = new views.Flow();

function show(overview) {
  byId("access").hidden = true;
  byId("state").hidden = false;
  byId("state").dataset.stale = "false";
  byId("forget").hidden = !known();
  byId("json").hidden = known(); // a link takes no credential along
  mark(byId("link"), "good", "live");
  news.of("link", "live", "Live again.");
  views.head(overview, news);
  flow.show(overview);
  views.windows(overview, news);
  views.recent(overview, openDetails);
  views.parts(overview, news);
  views.waits(overview);
  views.faults(overview, news);
  views.warnings(overview);
}

function lost(why) {
  byId("state").dataset.stale = "true";
  mark(byId("link"), "bad", `not live: ${why}`);
  news.of("link", why, `Not live: ${why}.`);
}

/** Ask who looks, and wait for an answer. */
function introduce({ schemes, tried }) {
  forget();
  byId("state").hidden = true;
  byId("access").hidden = false;
  mark(byId("link"), "none", "not signed in");
  mark(byId("mode"), "none", "unknown");
  put(byId("mode-why"), "");
  const forms = ["bearer", "basic"].map((scheme) => byId(`access-${scheme}`));
  for (const form of forms) {
    form.hidden = !schemes.includes(form.id.slice("access-".length));
    form.reset();
  }
  const shown = forms.find((form) => !form.hidden);
  byId("access-kept").hidden = !shown;
  let why = "The gateway shows alerts to those it knows.";
  if (tried) why = "The gateway does not take that. Try another.";
  else if (!shown) why = "The gateway knows its clients by their certificates, and this browser has shown none that it takes.";
  put(byId("access-why"), why);
  put(byId("announcer"), why);
  shown?.elements[0].focus();
  return new Promise((resolve) => {
    for (const form of forms) {
      form.onsubmit = (event) => {
        event.preventDefault();
        const { token, user, password } = form.elements;
        if (token) useToken(token.value.trim());
        else usePassword(user.value, password.value);
        resolve();
      };
    }
  });
}

let latest = 0;

async function openDetails(one) {
  const dialog = byId("details");
  const opened = (latest += 1);
  put(byId("details-title"), `${one.signal} · ${one.namespace}/${one.name}`);
  put(byId("details-command"), command(one));
  put(byId("details-text"), "…");
  dialog.showModal();
  let text;
  try {
    const response = await ask(`/v1/alerts/${one.fingerprint}`);
    text = JSON.stringify(await response.json(), null, 2);
  } catch (error) {
    text = error instanceof Unknown ? "The gateway does not know who looks any more." : "The gateway does not answer.";
  }
  if (opened === latest) put(byId("details-text"), text);
}

byId("details-copy").addEventListener("click", async (event) => {
  views.told(event.currentTarget, await copy(byId("details-command").textContent));
});
byId("forget").addEventListener("click", () => {
  forget();
  location.reload();
});
setInterval(views.tick, 250);

for (;;) {
  const unknown = await follow("/v1/overview", (name, data) => name === "overview" && show(JSON.parse(data)), lost);
  await introduce(unknown);
}
