// The names of devices: those that the page knows, and those that it asks the server for. A page with thousands of devices in the
// database knows only those it shows.

async function ask(parameters) {
  const response = await fetch(`/explore/-/devices?${new URLSearchParams(parameters)}`);
  if (!response.ok) throw new Error(`The server answered with status ${response.status}.`);
  return response.json();
}

export class Names {
  // `devices`: [[id, name]] of the page.
  constructor(devices) {
    this.known = new Map(devices);
  }

  of(id) {
    return this.known.get(id) || id;
  }

  device(id) {
    return { id, label: this.of(id), small: this.of(id) === id ? "" : id, kind: "" };
  }

  // The devices and tags that match the text, without the chosen ones, as a picker takes them.
  async search(text, { devices, tags }) {
    const found = await ask([["search", text]]);
    this.learn(found.devices);
    const offered = found.tags.filter(([name]) => !tags.includes(name)).map(([name, count]) => tagItem(name, count));
    const others = found.devices.map(([id]) => id).filter((id) => !devices.includes(id)).map((id) => this.device(id));
    return { items: [...offered, ...others], more: found.more };
  }

  // Learns the names of these devices; returns whether any was new. A name is no reason to fail.
  async learnOf(ids) {
    const unknown = ids.filter((id) => !this.known.has(id));
    if (!unknown.length) return false;
    try {
      this.learn((await ask(unknown.map((id) => ["device_id", id]))).devices);
      return true;
    } catch {
      return false;
    }
  }

  learn(devices) {
    for (const [id, name] of devices) this.known.set(id, name);
  }
}

export const tagItem = (name, count = null) => ({
  id: name, label: `# ${name}`, small: count === null ? "" : `tag, ${count} ${count === 1 ? "device" : "devices"}`, kind: "of-tag",
});
