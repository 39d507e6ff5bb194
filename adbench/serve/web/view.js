// Zoom and pan, shared by all stages: the part of the image that is seen is the same in each.

export class View {
  constructor() {
    this.listeners = [];
    this.reset(false);
  }

  // x, y: the centre, as shares of the image; zoom: 1 shows the whole image.
  reset(tell = true) {
    [this.x, this.y, this.zoom] = [0.5, 0.5, 1];
    if (tell) this.tell();
  }

  onChange(listener) {
    this.listeners.push(listener);
  }

  tell() {
    for (const listener of this.listeners) listener(this);
  }

  // Zooms by a factor so that the point (x, y), in shares of the image, stays where it is.
  by(factor, x = this.x, y = this.y) {
    const zoom = Math.max(1, Math.min(40, this.zoom * factor));
    const kept = this.zoom / zoom;
    this.zoom = zoom;
    this.to(x + (this.x - x) * kept, y + (this.y - y) * kept);
  }

  to(x, y) {
    const half = 0.5 / this.zoom;
    this.x = Math.max(half, Math.min(1 - half, x));
    this.y = Math.max(half, Math.min(1 - half, y));
    this.tell();
  }
}
