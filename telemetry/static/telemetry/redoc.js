// Redoc's bundle names a logo on the internet. This page asks for nothing from elsewhere.
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
