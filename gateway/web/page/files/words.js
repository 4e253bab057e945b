// Figures and states in words. Nothing here touches the page.

const grouped = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export const number = (value) => grouped.format(value);

export const many = (value, one, more = `${one}s`) => `${number(value)} ${value === 1 ? one : more}`;

/** A time that runs: 8 s, 4:07, 2 h 5 min, 3 d 4 h. */
export function span(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
  const minutes = Math.floor(whole / 60);
  if (whole < 86400) return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor((minutes % 1440) / 60)} h`;
}

export const ago = (seconds) => (seconds === null ? "–" : `${span(Math.floor(seconds))} ago`);

export const MODES = {
  normal: ["good", "normal", "Redis takes alerts, Kubernetes gets them."],
  direct: ["warn", "without Redis", "Each alert is written to Kubernetes before its answer."],
  queueing: ["warn", "queueing", "Kubernetes takes no writes; Redis keeps them until it does."],
  refusing: ["bad", "refusing", "Neither Redis nor Kubernetes takes alerts: senders get 503 and try again."],
};

export const NAMES = { redis: "Redis", k8s_api: "Kubernetes API", kubernetes: "Kubernetes", webhook: "Answers to senders" };

/** [level, word, what it means] of a breaker. */
export function breaker(report) {
  if (report.state === "closed") return ["good", "in use", ""];
  const reason = report.reason ? `${report.reason}; ` : "";
  if (report.state === "half-open") return ["warn", "being tried", `${reason}its breaker is half-open`];
  const wait = report.retryAfterSeconds === null ? "" : `, next try in ${span(report.retryAfterSeconds)}`;
  return ["bad", "left alone", `${reason}its breaker is open${wait}`];
}

/** [level, word] of a window. */
export const WINDOWS = { holding: ["none", "holding"], storming: ["warn", "storm"], closed: ["none", "closed"] };

/** [level, word] of a request. */
export function request(one) {
  if (!one.open) return ["none", one.phase || "closed"];
  if (one.resolved) return ["good", one.phase ? `${one.phase}, resolved` : "resolved"];
  return ["work", one.phase || "open"];
}

export const command = (one) => `kubectl get remediationrequest -n ${one.namespace} ${one.name} -o yaml`;
