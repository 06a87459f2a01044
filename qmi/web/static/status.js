// What the states of contexts and objects mean.

const GOOD = new Set(["running", "open", "ready", "up", "ended", "done"]);
const BAD = new Set(["failed", "no answer", "lost", "aborted", "interrupted"]);
const PLAIN = new Set(["not running", "new", "closed", "unknown", "no port", "out of reach", "stopped", "removed", "waiting"]);
const LATE = 0.5; // of its period: a loop whose 99th percentile is later than this is late

/** What a state looks like. */
export const tone = (state) => (GOOD.has(state) ? "good" : BAD.has(state) ? "bad" : PLAIN.has(state) ? "" : "busy");

/** Whether the loop of a task is late. */
export const isLate = (task) => Boolean(task && task.period > 0 && (task.lateness_p99 > LATE * task.period || task.missed > 0));

/** Who holds a lock, and for what. */
export const lockText = (lock) => [lock.user || lock.holder, lock.reason].filter(Boolean).join(": ");

/** Where an object is shown. */
export const objectPath = (context, object) => `/o/${encodeURIComponent(context)}/${encodeURIComponent(object)}`;
