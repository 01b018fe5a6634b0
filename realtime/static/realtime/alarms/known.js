// The alarms of one list, newest first, from pages of the API and from the live socket.

const before = (a, b) => (a.opened_at === b.opened_at ? a.id > b.id : a.opened_at > b.opened_at);

export class Known {
  constructor() {
    this.alarms = [];
    this.next = null; // the address of the next page
  }

  // Takes the first page.
  begin({ results, next }) {
    this.alarms = [];
    this.add({ results, next });
  }

  // Takes the next page.
  add({ results, next }) {
    this.next = null; // all of these belong to the list
    for (const alarm of results) this.put(alarm);
    this.next = next;
  }

  // Adds the alarm at its place, or replaces it. Returns false if it belongs to a page that was not loaded.
  put(alarm) {
    this.remove(alarm.id);
    const place = this.alarms.findIndex((other) => before(alarm, other));
    if (place < 0 && this.next) return false;
    this.alarms.splice(place < 0 ? this.alarms.length : place, 0, alarm);
    return true;
  }

  has(id) {
    return this.alarms.some((alarm) => alarm.id === id);
  }

  remove(id) {
    const place = this.alarms.findIndex((alarm) => alarm.id === id);
    if (place >= 0) this.alarms.splice(place, 1);
    return place >= 0;
  }
}
