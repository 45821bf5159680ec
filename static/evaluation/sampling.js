// What would be drawn, beside the form that asks for it: reckoned anew after each change.

const form = document.getElementById("draw");
const outlook = document.querySelector("#outlook .body");
let timer = 0;
let asked = 0;

async function look() {
  const mine = ++asked;
  outlook.ariaBusy = true;
  const answer = await fetch(form.dataset.preview, {
    method: "POST", body: new FormData(form), redirect: "manual",
  }).catch(() => null);
  if (mine !== asked) return; // the form has changed meanwhile
  outlook.ariaBusy = false;
  if (answer?.ok) outlook.innerHTML = await answer.text(); // made and escaped by the server
  else outlook.textContent = form.dataset.offline;
}

// Fields that say nothing for the chosen design or size are out of the way.
function arrange() {
  const { design, by_width: width } = form.elements;
  form.querySelector(".of-stratified").hidden = design.value === "simple";
  form.querySelector(".of-width").hidden = !width.value;
  form.querySelector(".of-size").hidden = !!width.value;
}

form.addEventListener("input", () => {
  arrange();
  clearTimeout(timer);
  timer = setTimeout(look, 300);
});
arrange();
look();
