// Requests to the API with the session of the signed-in account.

// `fields`: [[name, what is wrong with it]], where the server named fields. `status` 0: there was no answer.
export class Refused extends Error {
  constructor(message, status, fields = []) {
    super(message);
    Object.assign(this, { status, fields });
  }
}

// The decoded answer; null if it is empty. Throws Refused, and AbortError if `signal` ends it.
export async function ask(method, address, { body, signal } = {}) {
  const headers = { Accept: "application/json" };
  if (method !== "GET") headers["X-CSRFToken"] = document.querySelector("[name=csrfmiddlewaretoken]")?.value ?? "";
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(address, { method, headers, signal, body: body === undefined ? undefined : JSON.stringify(body) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server cannot be reached.", 0);
  }
  if (response.status === 204) return null;
  // A proxy in front of the server answers with a page of its own.
  const answer = await response.json().catch(() => null);
  if (response.ok && answer !== null) return answer;
  const fields = (answer?.errors ?? []).filter(({ field }) => field).map(({ field, detail }) => [field, detail]);
  throw new Refused(answer?.detail ?? `The server answered with status ${response.status}.`, response.status, fields);
}
