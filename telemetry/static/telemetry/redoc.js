// Redoc's bundle loads a logo from the internet. This page loads nothing from other servers.
const ours = (address) => new URL(address, location).origin === location.origin;
const image = HTMLImageElement.prototype;
const { setAttribute } = image;
const source = Object.getOwnPropertyDescriptor(image, "src");

image.setAttribute = function (name, value) {
  if (name !== "src" || ours(value)) setAttribute.call(this, name, value);
};
Object.defineProperty(image, "src", {
  ...source,
  set(value) {
    if (ours(value)) source.set.call(this, value);
  },
});

// Redoc has a theme of its own. This one uses the product's colours, light or dark.
const look = getComputedStyle(document.documentElement);
const token = (name) => look.getPropertyValue(`--${name}`).trim();
const theme = {
  colors: {
    primary: { main: token("accent-strong") },
    success: { main: token("good") },
    warning: { main: token("waiting") },
    error: { main: token("bad") },
    text: { primary: token("text"), secondary: token("muted") },
    border: { dark: token("edge"), light: token("line") },
    // A tab's text is on the panel, which is dark in light mode too.
    responses: {
      success: { color: token("text"), backgroundColor: token("good-soft"), tabTextColor: "#4ade80" },
      error: { color: token("text"), backgroundColor: token("bad-soft"), tabTextColor: "#fb8585" },
    },
  },
  sidebar: { backgroundColor: token("sunken"), textColor: token("text"), activeTextColor: token("accent-strong") },
  rightPanel: {
    backgroundColor: "#1f262c",
    textColor: "#e7ebef",
    servers: {
      overlay: { backgroundColor: token("surface"), textColor: token("text") },
      url: { backgroundColor: token("surface") },
    },
  },
  schema: { nestedBackground: token("sunken"), typeNameColor: token("muted"), typeTitleColor: token("muted") },
  typography: {
    fontFamily: token("sans"),
    headings: { fontFamily: token("sans") },
    code: { fontFamily: token("mono"), color: token("bad"), backgroundColor: token("sunken") },
  },
};
document.querySelector("redoc").setAttribute("theme", JSON.stringify(theme));
