//! What passes have worked out, for when it is asked again.
//!
//! A search runs the rest of the pipeline ahead for several ways of running a network, and the pipeline then runs for the one that
//! was chosen; a report compiles a model in several ways. What takes long in them depends on few things: where to cut a graph,
//! where to place buffers. The answers are kept by all that they depend on, so that a pass stays a function from module to module,
//! whatever is remembered. Only a search that was ended leaves an answer that it would have bettered; so would those that ask
//! later, but they would be ended as well.

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};

/// Answers that are kept of a kind.
const KEPT: usize = 64;

/// Answers by questions. A type of question has one type of answer.
#[derive(Default)]
pub struct Memo(RefCell<HashMap<TypeId, Box<dyn Any>>>);

/// Questions of a type and their answers, the latest first.
type Kind<Q, A> = VecDeque<(Q, A)>;

impl Memo {
    /// The answer to a question, which is found if it is not known.
    pub fn recall<Q: Eq + 'static, A: Clone + 'static>(&self, question: Q, find: impl FnOnce(&Q) -> A) -> A {
        if let Some(answer) = self.known(&question) {
            return answer;
        }
        // What is found may ask other questions.
        let answer = find(&question);
        let mut kinds = self.0.borrow_mut();
        let kind = kinds.entry(TypeId::of::<(Q, A)>()).or_insert_with(|| Box::new(Kind::<Q, A>::new()));
        if let Some(kind) = kind.downcast_mut::<Kind<Q, A>>() {
            kind.push_front((question, answer.clone()));
            kind.truncate(KEPT);
        }
        answer
    }

    fn known<Q: Eq + 'static, A: Clone + 'static>(&self, question: &Q) -> Option<A> {
        let kinds = self.0.borrow();
        let kind = kinds.get(&TypeId::of::<(Q, A)>())?.downcast_ref::<Kind<Q, A>>()?;
        kind.iter().find(|(known, _)| known == question).map(|(_, answer)| answer.clone())
    }
}

impl std::fmt::Debug for Memo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memo").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn a_question_is_answered_once() {
        let (memo, asked) = (Memo::default(), Cell::new(0));
        let double = |number: u32| {
            memo.recall(number, |&number| {
                asked.set(asked.get() + 1);
                u64::from(number) * 2
            })
        };
        assert_eq!([double(1), double(2), double(1)], [2, 4, 2]);
        assert_eq!(asked.get(), 2);
        // Another kind of answer to the same question is not taken for it.
        assert_eq!(memo.recall(1u32, |number| number.to_string()), "1");
    }

    #[test]
    fn old_answers_are_forgotten() {
        let memo = Memo::default();
        (0..=KEPT).for_each(|number| assert_eq!(memo.recall(number, |&number| number), number));
        assert_eq!(memo.recall(KEPT, |_| 0), KEPT);
        assert_eq!(memo.recall(0usize, |_| KEPT), KEPT);
    }

    #[test]
    fn finding_an_answer_may_ask_questions() {
        let memo = Memo::default();
        let sum = memo.recall("sum", |_| memo.recall(2u8, |&two| two + 1) + memo.recall(2u8, |_| 0));
        assert_eq!(sum, 6);
    }
}
