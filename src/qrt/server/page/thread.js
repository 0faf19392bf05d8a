// The messages on the page: those near the window are drawn, the others are their text.

import { MessageView } from "./message.js";

const NEAR = "1500px 0px";
const AT_END_PX = 80;

export class Thread {
  /** actions: what the page does for a message, see MessageView. */
  constructor({ scroller, list, welcome, latest }, actions) {
    Object.assign(this, { scroller, list, welcome, latest, actions });
    this.views = [];
    this.byElement = new WeakMap();
    this.follows = true;
    this.lastTop = 0;
    this.frame = 0;
    this.near = new IntersectionObserver(
      (entries) => {
        for (const { target, isIntersecting } of entries) {
          if (!isIntersecting) continue;
          this.near.unobserve(target);
          this.byElement.get(target)?.draw();
        }
      },
      { root: scroller, rootMargin: NEAR },
    );
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    new ResizeObserver(() => this.follows && this.#toEnd()).observe(list);
    new ResizeObserver(() => this.follows && this.#toEnd()).observe(scroller);
    latest.addEventListener("click", () => this.toEnd());
  }

  /** Shows a path; messages that stand there already stay as they are. */
  show(path) {
    let same = 0;
    while (same < path.length && this.views[same]?.message === path[same]) same++;
    for (const view of this.views.splice(same)) {
      this.near.unobserve(view.element);
      view.element.remove();
    }
    const fresh = path.slice(same).map((message) => new MessageView(message, this.actions));
    this.list.append(...fresh.map((view) => view.element));
    for (const view of fresh) {
      this.byElement.set(view.element, view);
      this.near.observe(view.element);
    }
    this.views.push(...fresh);
    for (const view of this.views.slice(-3)) view.draw();
    for (const view of this.views) view.drawFoot();
    this.welcome.hidden = path.length > 0;
  }

  /** Shows what has come of the last message, at the next frame. */
  grow(message) {
    const view = this.views.at(-1);
    if (view?.message !== message || this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      view.grow();
    });
  }

  /** The last message is whole; the words of it that are shown. */
  end(message) {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    const view = this.views.findLast((one) => one.message === message);
    view?.grow();
    for (const one of this.views) one.drawFoot();
    return view?.body.textContent ?? "";
  }

  /** Lets the question asked last be edited. */
  editLast() {
    this.views.findLast(({ message }) => message.role === "user")?.edit();
  }

  /** Scrolls to the end and stays there as it grows. */
  toEnd() {
    this.follows = true;
    this.#toEnd();
  }

  #toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const isAtEnd = scrollHeight - scrollTop - clientHeight < AT_END_PX;
    if (isAtEnd) this.follows = true;
    else if (scrollTop < this.lastTop - 2) this.follows = false;
    this.lastTop = scrollTop;
    this.latest.hidden = this.follows || isAtEnd;
  }
}
