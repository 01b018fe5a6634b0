// Requests that change saved views and their links.

export async function send(method, path, body) {
  const token = document.querySelector("[name=csrfmiddlewaretoken]").value;
  const response = await fetch(`/api/v1/views${path}`, {
    method, headers: { "Content-Type": "application/json", "X-CSRFToken": token }, body: body && JSON.stringify(body),
  });
  if (response.ok) return response.status === 204 ? null : response.json();
  const problem = await response.json().catch(() => null);
  throw new Error(problem?.errors?.[0]?.detail ?? problem?.detail ?? `The server answered with status ${response.status}.`);
}
