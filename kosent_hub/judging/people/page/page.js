"use strict";

const WORDS = {
  ko: {
    title: "어느 답변이 더 나은가요?",
    care: "힘든 이야기가 나올 수 있습니다. 언제든 쉬어도 되고, 그만두어도 됩니다. 도움이 필요하면 109(24시간)에 전화하세요.",
    nickname: "별명", begin: "시작",
    hashed: "별명은 해시로만 남습니다. 같은 별명을 쓰면 하던 곳에서 이어집니다.",
    question: "대화의 마지막 말에 더 나은 답변을 고르세요. 차이가 없으면 0입니다.",
    left: "답변 1", right: "답변 2",
    vote1: "답변 1이 낫다", vote0: "차이가 없다", vote2: "답변 2가 낫다",
    undo: "앞의 표 되돌리기", pause: "쉬기", resume: "계속하기",
    paused: "쉬는 중입니다. 지금까지의 표는 저장되었습니다.",
    done: "끝났습니다. 고맙습니다.",
    rubric: "평가 기준", save: "표를 파일로 저장",
    user: "사용자", assistant: "챗봇",
    moved: "다른 탭에서 먼저 표를 주었습니다. 다음 쌍을 보여 드립니다.",
    lost: "프로그램과 연결이 끊겼습니다. 지금까지의 표는 저장되었습니다. 다시 실행하고 새 주소를 여세요.",
    switch: "English",
  },
  en: {
    title: "Which reply is better?",
    care: "Some of what you read may be hard to bear. You may pause or stop at any time. If you need help in Korea, call 109 (24 hours).",
    nickname: "Nickname", begin: "Begin",
    hashed: "Only a hash of the nickname is kept. The same nickname goes on where it stopped.",
    question: "Choose the better reply to the last turn of the conversation. 0 if there is no difference.",
    left: "Reply 1", right: "Reply 2",
    vote1: "Reply 1 is better", vote0: "No difference", vote2: "Reply 2 is better",
    undo: "Undo the last vote", pause: "Pause", resume: "Go on",
    paused: "Paused. All votes so far are saved.",
    done: "That was all. Thank you.",
    rubric: "Rubric", save: "Save the votes as a file",
    user: "User", assistant: "Chatbot",
    moved: "Another tab has voted on that pair. Here is the next one.",
    lost: "The program cannot be reached. All votes so far are saved. Start it again and open the new address.",
    switch: "한국어",
  },
};

const find = id => document.getElementById(id);
const data = find("data") ? JSON.parse(find("data").textContent) : null;
let language = "ko", rater = "", state = null, busy = false, paused = false, problem = "";

// Where votes are kept: {begin, vote, undo}, each with the state that follows.
const server = {
  async ask(what, body) {
    const answer = await fetch(what, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ rater, ...body }),
    });
    const found = await answer.json();
    if (found.error) throw new Error(found.error);
    return { state: found, moved: found.moved };
  },
  begin: () => server.ask("begin", {}),
  vote: (at, key) => server.ask("vote", { at, key }),
  undo: at => server.ask("undo", { at }),
};

const file = {
  place: () => `kosent-judge ${data.queue} ${rater}`,
  votes: () => JSON.parse(localStorage.getItem(file.place()) || "[]"),
  change(at, change) {
    const votes = file.votes();
    const moved = at !== undefined && at !== votes.length;
    if (at !== undefined && !moved) {
      change(votes);
      localStorage.setItem(file.place(), JSON.stringify(votes));
    }
    const item = data.items[votes.length] || null;
    return { state: { at: votes.length, total: data.items.length, item }, moved };
  },
  begin: async () => file.change(),
  vote: async (at, key) => file.change(at, votes => at < data.items.length && votes.push(key)),
  undo: async at => file.change(at, votes => votes.pop()),
};

const kept = data === null ? server : file;

async function act(work) {
  if (busy) return;
  busy = true;
  try {
    const found = await work();
    state = found.state;
    problem = found.moved ? "moved" : "";
  } catch (error) {
    problem = error instanceof TypeError ? "lost" : error.message;
  }
  busy = false;
  show();
}

function show() {
  const words = WORDS[language];
  document.documentElement.lang = language;
  for (const each of document.querySelectorAll("[data-say]")) {
    each.textContent = words[each.dataset.say];
  }
  for (const each of document.querySelectorAll("[data-language]")) {
    each.hidden = each.dataset.language !== language;
  }
  find("language").textContent = words.switch;
  find("language").lang = language === "ko" ? "en" : "ko";
  find("error").hidden = problem === "";
  find("error").textContent = words[problem] || problem;
  find("start").hidden = state !== null;
  find("more").hidden = state === null;
  find("bar").hidden = state === null;
  find("paused").hidden = !paused;
  find("pair").hidden = state === null || state.item === null || paused;
  find("done").hidden = state === null || state.item !== null;
  find("save").hidden = data === null;
  find("pause").querySelector("span").textContent = paused ? words.resume : words.pause;
  if (state === null) return;
  find("bar").max = Math.max(1, state.total);
  find("bar").value = state.at;
  find("count").textContent = `${state.at} / ${state.total}`;
  find("undo").disabled = state.at === 0;
  if (state.item === null) return;
  find("talk").replaceChildren(...state.item.messages.map(message => {
    const line = document.createElement("p"), who = document.createElement("b");
    who.textContent = words[message.role];
    line.append(who, message.content);
    return line;
  }));
  find("left").textContent = state.item.left;
  find("right").textContent = state.item.right;
}

function vote(key) {
  if (state === null || state.item === null || paused) return;
  const at = state.at;
  act(() => kept.vote(at, key));
}

function undo() {
  if (state === null || state.at === 0 || paused) return;
  const at = state.at;
  act(() => kept.undo(at));
}

function pause() {
  if (state === null) return;
  paused = !paused;
  show();
}

function save() {
  const content = JSON.stringify({ ...data.about, queue: data.queue, rater, votes: file.votes() });
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([content], { type: "application/json" }));
  link.download = "votes.json";
  link.click();
}

find("start").addEventListener("submit", event => {
  event.preventDefault();
  rater = find("rater").value.trim();
  if (rater === "") return;
  sessionStorage.setItem("kosent-judge", rater);
  act(kept.begin);
});
find("language").addEventListener("click", () => {
  language = language === "ko" ? "en" : "ko";
  show();
});
find("undo").addEventListener("click", undo);
find("pause").addEventListener("click", pause);
find("save").addEventListener("click", save);
for (const button of document.querySelectorAll("[data-key]")) {
  button.addEventListener("click", () => vote(button.dataset.key));
}
document.addEventListener("keydown", event => {
  const typing = event.target instanceof HTMLInputElement;
  if (typing || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  // By the key's place too: with a Korean keyboard, the key U writes another letter.
  if (["0", "1", "2"].includes(event.key)) vote(event.key);
  else if (event.code === "KeyU") undo();
  else if (event.code === "KeyP") pause();
});

rater = sessionStorage.getItem("kosent-judge") || "";
show();
if (rater !== "") act(kept.begin);
else find("rater").focus();
