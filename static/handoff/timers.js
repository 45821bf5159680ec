// Promises as they count: the server says what was left when it was asked, the page goes on.
import { say } from "../chat/strings.js";

const NEAR = 600; // s
const HOUR = 3600;

// Seconds of business hours that are left now of a timer that was told at `since` (ms).
function left({ left: then, stands, until }, since) {
  const [now, turn] = [Date.now(), until ? Number(new Date(until)) : null];
  const ran = stands ? now - (turn ?? now) : Math.min(now, turn ?? now) - since;
  return then - Math.max(0, ran) / 1000;
}

// {text, level: "" | "near" | "over" | "stands"}: of a row in short, else with what is promised.
export function tell(timer, since, short = false) {
  const seconds = left(timer, since);
  const stands = timer.stands && !(timer.until && new Date(timer.until) < Date.now());
  const time = clock(Math.abs(seconds));
  const told = say(seconds < 0 ? "timer.over" : "timer.left", { time });
  const why = stands && !short ? say(`timer.${timer.stands}`) : "";
  const what = short ? stands && say("timer.paused") : say(`timer.${timer.promise}`);
  const level = seconds < 0 ? "over" : stands ? "stands" : seconds < NEAR ? "near" : "";
  return { text: [what, told, why].filter(Boolean).join(short ? " " : " · "), level };
}

// The minutes and seconds of what is near, hours and minutes of the rest.
function clock(seconds) {
  const whole = Math.floor(seconds);
  if (whole < HOUR) return `${Math.floor(whole / 60)}:${two(whole % 60)}`;
  const [hours, minutes] = [Math.floor(whole / HOUR), Math.floor((whole % HOUR) / 60)];
  return hours < 48 ? say("timer.hours", { hours, minutes: two(minutes) }) : say("timer.days", { days: Math.floor(hours / 24) });
}

function two(n) {
  return String(n).padStart(2, "0");
}
