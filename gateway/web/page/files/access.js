// Who looks. A browser that opens a page cannot send a token, so the page asks for one and sends it with each request.
//
// Requests carry no credential of the browser's own: one that it keeps would go along with requests that other pages
// make it send, and it would ask for passwords with a window of its own. The exception is a client certificate, where
// the gateway asks for nothing that could be typed.

const KEY = "authorization";

let credentials = "omit";

/** The gateway does not know who looks: `schemes` are what it takes, in lower case. */
export class Unknown extends Error {
  constructor(schemes, tried) {
    super("who looks is not known");
    this.schemes = schemes;
    this.tried = tried;
  }
}

export const known = () => sessionStorage.getItem(KEY) !== null;

export const forget = () => sessionStorage.removeItem(KEY);

export const useToken = (token) => sessionStorage.setItem(KEY, `Bearer ${token}`);

export function usePassword(user, password) {
  const bytes = new TextEncoder().encode(`${user}:${password}`);
  sessionStorage.setItem(KEY, `Basic ${btoa(String.fromCharCode(...bytes))}`);
}

/** GET; the response, whatever its status, but 401. Throws `Unknown`, or what `fetch` throws. */
export async function ask(path, options = {}) {
  const authorization = sessionStorage.getItem(KEY);
  const headers = { ...options.headers, ...(authorization ? { Authorization: authorization } : {}) };
  const get = () => fetch(path, { ...options, headers, credentials, cache: "no-store" });
  let response = await get();
  if (response.status === 401 && !authorization && credentials === "omit" && !schemes(response).includes("basic")) {
    credentials = "same-origin";
    response = await get();
    if (response.status === 401) credentials = "omit";
  }
  if (response.status === 401) throw new Unknown(schemes(response), authorization !== null);
  return response;
}

function schemes(response) {
  const challenge = response.headers.get("WWW-Authenticate") ?? "";
  return [...challenge.matchAll(/\b(basic|bearer)\b/gi)].map((found) => found[1].toLowerCase());
}
