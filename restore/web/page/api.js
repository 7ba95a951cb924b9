// The HTTP API as the page uses it. Each refusal is an Error whose message is the server's sentence.

async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("The server does not answer; is it still running?");
  }
  if (answer.ok) return answer;
  const told = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(told.detail ?? `The server answered ${answer.status}.`), {
    status: answer.status,
    wait: Number(answer.headers.get("Retry-After")),
  });
}

const pause = seconds => new Promise(resolve => setTimeout(resolve, 1000 * seconds));

export const models = async () => (await ask("/v1/models")).json();

// Send a picture; where the server is busy, wait as long as it says. Returns the job.
export async function send(task, file, settings, signal) {
  const form = new FormData();
  form.append("image", file, file.name);
  for (const [name, value] of Object.entries(settings)) if (value !== "") form.append(name, value);
  for (;;) {
    try {
      const answer = await ask(`/v1/${task}`, {
        method: "POST", body: form, signal, headers: { Prefer: "respond-async" },
      });
      return await answer.json();
    } catch (error) {
      if (!error.wait || ![429, 503].includes(error.status)) throw error;
      await pause(error.wait);
    }
  }
}

// Call `told` with the job whenever it changes; resolves with it when it has ended.
export function follow(id, told, signal) {
  return new Promise((resolve, reject) => {
    const events = new EventSource(`/v1/jobs/${id}/events`);
    const end = () => { events.close(); reject(new DOMException("", "AbortError")); };
    signal.addEventListener("abort", end, { once: true });
    events.onmessage = event => {
      const job = JSON.parse(event.data);
      told(job);
      if (["done", "failed", "cancelled"].includes(job.state)) {
        events.close();
        signal.removeEventListener("abort", end);
        resolve(job);
      }
    };
    events.onerror = () => {                        // a connection that broke is opened again
      if (events.readyState === EventSource.CLOSED) reject(new Error("The server has lost this job."));
    };
  });
}

// One side of the result, "before" or "after", as a bitmap.
export async function view(id, side) {
  const answer = await ask(`/v1/jobs/${id}/${side}.png`);
  return createImageBitmap(await answer.blob());
}

export function resultAddress(id, choices) {
  const query = new URLSearchParams(Object.entries(choices).filter(([, value]) => value !== ""));
  return `/v1/jobs/${id}/result?${query}`;
}

// The server keeps a result for as long as someone asks about it.
export const touch = id => ask(`/v1/jobs/${id}`).catch(() => {});

// Also while the page is being left.
export const forget = id => fetch(`/v1/jobs/${id}`, { method: "DELETE", keepalive: true }).catch(() => {});
